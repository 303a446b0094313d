"""ClickStack's images with real servers in them, for the whole-stack scenario; see images.py of this folder."""
