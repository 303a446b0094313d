# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data: the settings of mongod.conf that MongoDB 5.0 to 8.0 document, each with its type and the versions that have it.

The source is the page "Self-Managed Configuration File Options" of the manual of each version
(mongodb.com/docs/v5.0/reference/configuration-options/ and so on), and for parameters "MongoDB Server Parameters".
Left out are settings of mongos and of Windows and macOS, and the names `net.ssl` that `net.tls` replaces.
"""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, int]

VERSIONS: tuple[Version, ...] = ((5, 0), (6, 0), (7, 0), (8, 0))
"""The versions that are supported, oldest first."""


@dataclass(frozen=True)
class Setting:
    """One setting: what it takes, and which MongoDB has it."""

    kind: str
    """`bool`, `int`, `number`, `str` or `list` (of texts)."""
    since: Version = (5, 0)
    """The first supported version that has it."""
    until: Version | None = None
    """The first version that no longer has it."""
    choices: tuple[str, ...] = ()
    """The texts it takes; empty for any."""
    least: float | None = None
    most: float | None = None
    enterprise: bool = False
    """Whether only MongoDB Enterprise has it; Community does not start with it."""

    def is_in(self, version: Version) -> bool:
        """Return whether this version has the setting.

        :param version: major and minor number
        """
        return self.since <= version and (self.until is None or version < self.until)


def _many(names: str, **options: str | float | bool | Version | tuple[str, ...]) -> dict[str, Setting]:
    """The same setting under several names."""
    return {name: Setting(**options) for name in names.split()}  # type: ignore[arg-type]


_VERBOSITY = Setting("int", least=-1, most=5)
_WT = Setting("int", since=(6, 0), least=-1, most=5)

_COMPONENTS = (
    "accessControl command control ftdc geo index network query replication replication.election"
    " replication.heartbeats replication.initialSync replication.rollback sharding storage storage.journal"
    " storage.recovery transaction write"
)
_WT_COMPONENTS = (
    "storage.wt storage.wt.wtBackup storage.wt.wtCheckpoint storage.wt.wtCompact storage.wt.wtEviction"
    " storage.wt.wtHS storage.wt.wtRecovery storage.wt.wtRTS storage.wt.wtSalvage storage.wt.wtTimestamp"
    " storage.wt.wtTransaction storage.wt.wtVerify storage.wt.wtWriteLog"
)

SETTINGS: dict[str, Setting] = {
    # -- systemLog -------------------------------------------------------------------------------------------------
    "systemLog.verbosity": Setting("int", least=0, most=5),
    **_many("systemLog.quiet systemLog.traceAllExceptions systemLog.logAppend", kind="bool"),
    **_many("systemLog.syslogFacility systemLog.path", kind="str"),
    "systemLog.logRotate": Setting("str", choices=("rename", "reopen")),
    "systemLog.destination": Setting("str", choices=("file", "syslog")),
    "systemLog.timeStampFormat": Setting("str", choices=("iso8601-utc", "iso8601-local")),
    **{f"systemLog.component.{name}.verbosity": _VERBOSITY for name in _COMPONENTS.split()},
    **{f"systemLog.component.{name}.verbosity": _WT for name in _WT_COMPONENTS.split()},
    "systemLog.component.assert.verbosity": Setting("int", since=(7, 0), least=-1, most=5),
    "systemLog.component.queryStats.verbosity": Setting("int", since=(7, 0), least=-1, most=5),
    "systemLog.component.query.rejected.verbosity": Setting("int", since=(8, 0), least=-1, most=5),
    # -- processManagement -----------------------------------------------------------------------------------------
    "processManagement.fork": Setting("bool"),
    **_many("processManagement.pidFilePath processManagement.timeZoneInfo", kind="str"),
    # -- net -------------------------------------------------------------------------------------------------------
    "net.port": Setting("int", least=1, most=65535),
    "net.bindIp": Setting("str"),
    **_many("net.bindIpAll net.wireObjectCheck net.ipv6 net.unixDomainSocket.enabled", kind="bool"),
    "net.maxIncomingConnections": Setting("int", least=1),
    "net.unixDomainSocket.pathPrefix": Setting("str"),
    "net.unixDomainSocket.filePermissions": Setting("int", least=0, most=0o777),
    "net.tls.mode": Setting("str", choices=("disabled", "allowTLS", "preferTLS", "requireTLS")),
    **_many(
        "net.tls.certificateKeyFile net.tls.certificateKeyFilePassword net.tls.clusterFile net.tls.clusterPassword"
        " net.tls.CAFile net.tls.clusterCAFile net.tls.CRLFile net.tls.disabledProtocols net.tls.logVersions",
        kind="str",
    ),
    **_many("net.tls.clusterAuthX509.attributes net.tls.clusterAuthX509.extensionValue", kind="str", since=(7, 0)),
    **_many(
        "net.tls.allowConnectionsWithoutCertificates net.tls.allowInvalidCertificates net.tls.allowInvalidHostnames",
        kind="bool",
    ),
    "net.tls.FIPSMode": Setting("bool", enterprise=True),
    "net.compression.compressors": Setting("str"),
    # -- security --------------------------------------------------------------------------------------------------
    "security.keyFile": Setting("str"),
    "security.clusterAuthMode": Setting("str", choices=("keyFile", "sendKeyFile", "sendX509", "x509")),
    "security.authorization": Setting("str", choices=("enabled", "disabled")),
    **_many("security.transitionToAuth security.javascriptEnabled", kind="bool"),
    "security.clusterIpSourceAllowlist": Setting("list"),
    **_many("security.redactClientLogData security.enableEncryption", kind="bool", enterprise=True),
    "security.encryptionCipherMode": Setting("str", choices=("AES256-CBC", "AES256-GCM"), enterprise=True),
    "security.encryptionKeyFile": Setting("str", enterprise=True),
    **_many(
        "security.kmip.keyIdentifier security.kmip.serverName security.kmip.clientCertificateFile"
        " security.kmip.clientCertificatePassword security.kmip.serverCAFile security.sasl.hostName"
        " security.sasl.serviceName security.sasl.saslauthdSocketPath security.ldap.servers"
        " security.ldap.bind.queryUser security.ldap.bind.queryPassword security.ldap.bind.saslMechanisms"
        " security.ldap.userToDNMapping security.ldap.authz.queryTemplate",
        kind="str",
        enterprise=True,
    ),
    **_many("security.kmip.rotateMasterKey security.ldap.validateLDAPServerConfig", kind="bool", enterprise=True),
    "security.kmip.activateKeys": Setting("bool", since=(6, 0), enterprise=True),
    "security.kmip.keyStatePollingSeconds": Setting("int", since=(6, 0), least=-1, enterprise=True),
    "security.kmip.useLegacyProtocol": Setting("bool", since=(6, 0), enterprise=True),
    "security.kmip.port": Setting("int", least=1, most=65535, enterprise=True),
    **_many("security.kmip.connectRetries security.kmip.connectTimeoutMS", kind="int", least=0, enterprise=True),
    "security.ldap.bind.method": Setting("str", choices=("simple", "sasl"), enterprise=True),
    "security.ldap.transportSecurity": Setting("str", choices=("none", "tls"), enterprise=True),
    "security.ldap.timeoutMS": Setting("int", least=0, enterprise=True),
    "security.ldap.retryCount": Setting("int", since=(7, 0), least=0, enterprise=True),
    # -- storage ---------------------------------------------------------------------------------------------------
    "storage.dbPath": Setting("str"),
    "storage.journal.enabled": Setting("bool", until=(7, 0)),
    "storage.journal.commitIntervalMs": Setting("int", least=1, most=500),
    "storage.directoryPerDB": Setting("bool"),
    "storage.syncPeriodSecs": Setting("number", least=0),
    "storage.engine": Setting("str", choices=("wiredTiger",)),
    "storage.oplogMinRetentionHours": Setting("number", least=0),
    "storage.wiredTiger.engineConfig.cacheSizeGB": Setting("number", least=0.25, most=10000),
    "storage.wiredTiger.engineConfig.journalCompressor": Setting("str", choices=("none", "snappy", "zlib", "zstd")),
    "storage.wiredTiger.engineConfig.directoryForIndexes": Setting("bool"),
    "storage.wiredTiger.engineConfig.zstdCompressionLevel": Setting("int", least=1, most=22),
    "storage.wiredTiger.collectionConfig.blockCompressor": Setting("str", choices=("none", "snappy", "zlib", "zstd")),
    "storage.wiredTiger.indexConfig.prefixCompression": Setting("bool"),
    "storage.inMemory.engineConfig.inMemorySizeGB": Setting("number", least=0.25, enterprise=True),
    # -- operationProfiling ----------------------------------------------------------------------------------------
    "operationProfiling.mode": Setting("str", choices=("off", "slowOp", "all")),
    "operationProfiling.slowOpThresholdMs": Setting("int"),
    "operationProfiling.slowOpSampleRate": Setting("number", least=0, most=1),
    "operationProfiling.filter": Setting("str"),
    # -- replication, sharding -------------------------------------------------------------------------------------
    "replication.oplogSizeMB": Setting("int", least=1),
    "replication.replSetName": Setting("str"),
    "replication.enableMajorityReadConcern": Setting("bool"),
    "sharding.clusterRole": Setting("str", choices=("configsvr", "shardsvr")),
    "sharding.archiveMovedChunks": Setting("bool"),
    # -- auditLog, snmp: Enterprise --------------------------------------------------------------------------------
    "auditLog.destination": Setting("str", choices=("syslog", "console", "file"), enterprise=True),
    "auditLog.format": Setting("str", choices=("JSON", "BSON"), enterprise=True),
    **_many("auditLog.path auditLog.filter", kind="str", enterprise=True),
    "auditLog.runtimeConfiguration": Setting("bool", enterprise=True),
    **_many(
        "auditLog.auditEncryptionKeyIdentifier auditLog.compressionMode auditLog.localAuditKeyFile",
        kind="str",
        since=(6, 0),
        enterprise=True,
    ),
    "auditLog.schema": Setting("str", since=(8, 0), enterprise=True),
    **_many("snmp.disabled snmp.subagent snmp.master", kind="bool", until=(7, 0), enterprise=True),
}
"""By their full name; `setParameter` is apart, below."""

PARAMETERS: dict[str, Setting] = {
    # authentication
    **_many("authenticationMechanisms", kind="str"),
    **_many("enableLocalhostAuthBypass allowRolesFromX509Certificates enforceUserClusterSeparation", kind="bool"),
    **_many("scramSHA256IterationCount scramIterationCount", kind="int", least=5000),
    "authFailedDelayMs": Setting("int", least=0, most=5000, enterprise=True),
    # TLS
    **_many("opensslCipherConfig opensslCipherSuiteConfig opensslDiffieHellmanParameters", kind="str"),
    **_many("ocspEnabled tlsWithholdClientCertificate", kind="bool"),
    "tlsUseSystemCA": Setting("bool", since=(6, 0)),
    **_many(
        "ocspStaplingRefreshPeriodSecs tlsOCSPStaplingTimeoutSecs tlsOCSPVerifyTimeoutSecs",
        kind="int",
        least=1,
    ),
    "tlsX509ExpirationWarningThresholdDays": Setting("int", least=0),
    "tlsClusterAuthX509Override": Setting("str", since=(7, 0)),
    # logs and a small deployment
    "logLevel": Setting("int", least=0, most=5),
    "quiet": Setting("bool"),
    "maxLogSizeKB": Setting("int", least=0),
    "notablescan": Setting("bool"),
    "cursorTimeoutMillis": Setting("int", least=1),
    "transactionLifetimeLimitSeconds": Setting("int", least=1),
    "maxIndexBuildMemoryUsageMegabytes": Setting("number", least=1),
    "maxValidateMemoryUsageMB": Setting("int", least=1),
    "diagnosticDataCollectionEnabled": Setting("bool"),
    "diagnosticDataCollectionDirectorySizeMB": Setting("int", least=10),
    "ttlMonitorEnabled": Setting("bool"),
    "ttlMonitorSleepSecs": Setting("int", least=1),
}
"""Parameters under `setParameter` that matter for security and for a small deployment; the documentation has more."""

PROTOCOLS = ("TLS1_0", "TLS1_1", "TLS1_2", "TLS1_3")
"""What `net.tls.disabledProtocols` knows."""
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509", "MONGODB-AWS", "GSSAPI", "PLAIN", "MONGODB-OIDC")
"""What `authenticationMechanisms` knows."""
