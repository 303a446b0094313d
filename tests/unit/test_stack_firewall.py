"""stack_firewall: what declarations mean, what is wrong with them, and which rules ufw gets for them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_firewall import declarations, ufw

INTERFACES = {"lo": ["127.0.0.1", "::1"], "eth0": ["192.0.2.10", "2001:db8::10"], "eth1": ["10.0.0.10"]}

NETWORKS = st.one_of(
    st.ip_addresses(v=4, network="10.0.0.0/8").map(str),
    st.ip_addresses(v=6, network="2001:db8::/32").map(str),
    st.tuples(st.ip_addresses(v=4, network="10.0.0.0/8"), st.integers(8, 32)).map(
        lambda pair: str(ipaddress.ip_network(pair, strict=False))
    ),
)
ENTRIES = st.fixed_dictionaries(
    {
        "port": st.one_of(
            st.integers(1, 65535), st.tuples(st.integers(1, 999), st.integers(1000, 65535)).map("{0[0]}-{0[1]}".format)
        )
    },
    optional={
        "protocol": st.sampled_from(["tcp", "udp"]),
        "sources": st.lists(NETWORKS, max_size=3),
        "addresses": st.lists(st.sampled_from(["192.0.2.10", "2001:db8::10", "10.0.0.10"]), max_size=2),
        "interface": st.sampled_from(["eth0", "eth1"]),
    },
)


def one(**entry: Any) -> declarations.Opening:
    """Return what an entry opens."""
    (opening,) = declarations.openings([entry], "ports")
    return opening


def problems(*entries: Any) -> str:
    """Return what is wrong with entries."""
    with pytest.raises(declarations.DeclarationError) as raised:
        declarations.openings(list(entries), "ports")
    return str(raised.value)


@pytest.mark.parametrize("port", [0, 65536, "", None, "80,443", "http", "443-80", "1-65536", True, -1, "8080:80", [80]])
def test_what_is_no_port_is_refused(port: Any) -> None:
    assert f"ports[1]: port must be a number from 1 to 65535 or a range such as 6000-6010, not {port!r}" in problems(
        {"port": 22}, {"port": port}
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"port": 1, "protocol": "icmp"}, "ports[0]: protocol must be one of tcp, udp, not 'icmp'"),
        ({"port": 1, "sources": ["10.0.0.1/8"]}, "ports[0].sources: '10.0.0.1/8' is not a network"),
        ({"port": 1, "sources": "10.0.0.0/8"}, "ports[0].sources: '10.0.0.0/8' is not a list"),
        ({"port": 1, "sources": ["::1"]}, "ports[0].sources: ::1 is the host itself"),
        ({"port": 1, "addresses": ["eth0"]}, "ports[0].addresses: 'eth0' is not an address"),
        ({"port": 1, "addresses": ["0.0.0.0"]}, "leave `addresses` out instead"),
        ({"port": 1, "addresses": ["127.0.0.1"]}, "reached from the host alone"),
        ({"port": 1, "interface": 'eth0" accept'}, "cannot be the name of an interface"),
        ({"port": 1, "interface": "a-name-that-is-too-long"}, "cannot be the name of an interface"),
        ({"port": 1, "sources": ["10.0.0.0/8"], "addresses": ["2001:db8::1"]}, "of different IP versions"),
        (443, "ports[0]: 443 is not a dictionary"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(entry: Any, said: str) -> None:
    assert said in problems(entry)


def test_all_problems_are_told_at_once() -> None:
    said = problems({"port": 0}, {"port": 1, "protocol": "sctp"}, {"port": 2, "sources": ["x"]})
    assert [place in said for place in ("ports[0]", "ports[1]", "ports[2].sources")] == [True] * 3


@pytest.mark.parametrize(
    ("some", "other", "is_same"),
    [
        ({"port": 80}, {"port": 80, "sources": ["10.0.0.0/8"]}, True),
        ({"port": 80}, {"port": "79-81"}, True),
        ({"port": 80}, {"port": 80, "protocol": "udp"}, False),
        ({"port": 80}, {"port": 81}, False),
        ({"port": 80, "addresses": ["192.0.2.1"]}, {"port": 80, "addresses": ["192.0.2.2"]}, False),
        ({"port": 80, "addresses": ["192.0.2.1"]}, {"port": 80}, True),
        ({"port": 80, "interface": "eth0"}, {"port": 80, "interface": "eth1"}, False),
        ({"port": 80, "interface": "eth0"}, {"port": 80}, True),
    ],
)
def test_a_port_is_declared_once(some: Any, other: Any, is_same: bool) -> None:
    if is_same:
        assert "are for the same port; make them one" in problems(some, other)
    else:
        declarations.openings([some, other], "ports")
    between = declarations.contradictions([one(**some)], [one(**other)])
    assert [("either a container's or the host's own" in line) for line in between] == [True] * is_same


def test_an_interface_and_an_address_have_to_be_there() -> None:
    declared = [one(port=1, interface="eth9"), one(port=2, addresses=["192.0.2.99"]), one(port=3, interface="eth1")]
    assert declarations.missing(declared, INTERFACES) == [
        "ports[0] (port 1/tcp): the host has no interface eth9, but eth0, eth1, lo.",
        "ports[0] (port 2/tcp): the host has no address 192.0.2.99,"
        " but 10.0.0.10, 127.0.0.1, 192.0.2.10, 2001:db8::10, ::1.",
    ]


def test_an_interface_that_only_looks_like_docker_s_is_refused() -> None:
    names = ["docker0", "docker_gwbridge", "br-0123456789ab", "br-lan", "br0", "eth0"]
    (problem,) = declarations.pretenders(["docker0", "br-*"], names)
    assert "br-lan" in problem
    # by its full name it is the administrator's decision
    assert declarations.pretenders(["br-lan"], names) == []


@pytest.mark.parametrize("pattern", ["", "*", 'x" accept', "lo", "eth0 eth1", "br*x"])
def test_a_pattern_is_the_beginning_of_a_name(pattern: str) -> None:
    assert declarations.wrong_patterns([pattern])
    assert declarations.wrong_patterns(["docker0", "br-*"]) == []


@pytest.mark.parametrize(
    ("entry", "source", "address", "is_admitted"),
    [
        ({"port": 22}, "198.51.100.1", "192.0.2.10", True),
        ({"port": 23}, "198.51.100.1", "192.0.2.10", False),
        ({"port": "20-30", "sources": ["198.51.100.0/24"]}, "198.51.100.1", "192.0.2.10", True),
        ({"port": 22, "sources": ["198.51.101.0/24"]}, "198.51.100.1", "192.0.2.10", False),
        ({"port": 22, "protocol": "udp"}, "198.51.100.1", "192.0.2.10", False),
        ({"port": 22, "addresses": ["10.0.0.10"]}, "198.51.100.1", "192.0.2.10", False),
        ({"port": 22, "interface": "eth0"}, "198.51.100.1", "192.0.2.10", True),
        ({"port": 22, "interface": "eth1"}, "198.51.100.1", "192.0.2.10", False),
        ({"port": 22, "sources": ["198.51.100.0/24"]}, "::ffff:198.51.100.1", "::ffff:192.0.2.10", True),
        ({"port": 22, "sources": ["fe80::/10"]}, "fe80::1%eth0", "fe80::2%eth0", True),
        ({"port": 22, "sources": ["2001:db8::/32"]}, "198.51.100.1", "192.0.2.10", False),
    ],
)
def test_a_connection_that_would_be_cut_off_is_recognised(
    entry: Any, source: str, address: str, is_admitted: bool
) -> None:
    assert declarations.admits([one(**entry)], [], source, address, 22, INTERFACES) is is_admitted
    assert declarations.admits(
        [one(**entry)],
        [ipaddress.ip_network(f"{'::/0' if ':' in source else '0.0.0.0/0'}"), ipaddress.ip_network("0.0.0.0/0")],
        source,
        address,
        22,
        INTERFACES,
    )


def test_each_ip_version_is_printed_with_its_own_sources_and_addresses() -> None:
    entry = one(port=443, sources=["10.0.0.0/9", "10.128.0.0/9", "2001:db8:1::/48"], addresses=["192.0.2.10"])
    assert declarations.printed([entry]) == [
        {
            "ip": "ip",
            "nfproto": "ipv4",
            "protocol": "tcp",
            "port": "443",
            # as one: nft refuses sets whose elements overlap
            "sources": ["10.0.0.0/8"],
            "addresses": ["192.0.2.10"],
            "interface": "",
            "where": "ports[0] (port 443/tcp)",
        }
    ]


@given(ENTRIES)
def test_what_is_printed_is_what_was_declared(entry: dict[str, Any]) -> None:
    """No source and no address is lost or added, whatever they are."""
    try:
        opening = one(**entry)
    except declarations.DeclarationError as error:
        assert "different IP versions" in str(error)
        return
    printed = declarations.printed([opening])
    assert {line["nfproto"] for line in printed} == {f"ipv{version}" for version in opening.families}
    for line in printed:
        version = int(line["nfproto"][-1])
        given_sources = [ipaddress.ip_network(text) for text in entry.get("sources", [])]
        mine = [network for network in given_sources if network.version == version]
        shown = [ipaddress.ip_network(text) for text in line["sources"]]
        assert all(any(network.subnet_of(wide) for wide in shown) for network in mine)
        assert sum(network.num_addresses for network in shown) <= sum(network.num_addresses for network in mine)
        assert bool(shown) == bool(given_sources), "an empty list would be everybody"
        assert bool(line["addresses"]) == bool(entry.get("addresses"))


# -- ufw ---------------------------------------------------------------------------------------------------------------

HEXED = ufw.COMMENT.encode().hex()
USER_RULES = f"""\
*filter
:ufw-user-input - [0:0]
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### limit tcp 80,443 0.0.0.0/0 any 10.0.0.0/8 WWW%20Full - in_eth0
### tuple ### allow tcp 4317 0.0.0.0/0 any 0.0.0.0/0 in comment={HEXED}
### tuple ### allow tcp 6000:6010 192.0.2.10 any 10.0.0.0/8 in_eth1 comment={HEXED}
### tuple ### deny any any 0.0.0.0/0 any 10.9.9.9 in comment=6e6f
### tuple ### route:allow any any 0.0.0.0/0 any 0.0.0.0/0 in_br-+!out_eth0
### tuple ### short
### END RULES ###
"""
USER6_RULES = f"### tuple ### allow tcp 4317 ::/0 any ::/0 in comment={HEXED}\n"


def test_the_rules_of_ufw_are_read() -> None:
    rules = ufw.parse(USER_RULES + USER6_RULES)
    assert [rule.text for rule in rules] == [
        "allow in from any to any port 22 proto tcp",
        "limit in on eth0 from 10.0.0.0/8 to any port 80,443 proto tcp",
        "allow in from any to any port 4317 proto tcp",
        "allow in on eth1 from 10.0.0.0/8 to 192.0.2.10 port 6000:6010 proto tcp",
        "deny in from 10.9.9.9 to any",
        "route allow in on br-+ out on eth0 from any to any",
    ]
    assert [rule.is_ours for rule in rules] == [False, False, True, True, False, False]


def test_policies_are_those_of_the_filter_table_s_own_chains() -> None:
    saved = """
# Generated by iptables-save v1.8.9 (nf_tables)
*nat
:PREROUTING ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [12:720]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
COMMIT
*raw
:OUTPUT DROP [0:0]
COMMIT
"""
    assert ufw.policies(saved, "ipv4") == [
        {"ip_version": "ipv4", "chain": "INPUT", "policy": "ACCEPT"},
        {"ip_version": "ipv4", "chain": "FORWARD", "policy": "DROP"},
    ]
    assert ufw.policies("", "ipv6") == []


def test_only_what_is_ours_goes_and_only_what_is_missing_comes() -> None:
    declared = [one(port=22), one(port=4317), one(port=443, sources=["10.0.0.0/8", "2001:db8::1"])]
    have = ufw.parse(USER_RULES + USER6_RULES)
    plan = ufw.plan(have, ufw.wanted(declared, [], []))
    # 22 is the administrator's, and serves
    assert [rule.text for rule in plan.add] == [
        "allow in from 10.0.0.0/8 to any port 443 proto tcp",
        "allow in from 2001:db8::1 to any port 443 proto tcp",
    ]
    assert [rule.text for rule in plan.delete] == [
        "allow in on eth1 from 10.0.0.0/8 to 192.0.2.10 port 6000:6010 proto tcp"
    ]


def test_what_is_deleted_is_told_to_ufw_as_it_was_added() -> None:
    rule = ufw.parse(USER_RULES)[3]
    assert rule.parameters == {
        "rule": "allow",
        "proto": "tcp",
        "to_port": "6000:6010",
        "to_ip": "192.0.2.10",
        "from_ip": "10.0.0.0/8",
        "route": False,
        "interface_in": "eth1",
        "comment": ufw.COMMENT,
    }


def test_trusted_networks_and_bridges_have_rules_of_their_own() -> None:
    rules = ufw.wanted([], [ipaddress.ip_network("10.1.0.0/16")], ["docker0", "br-*"])
    assert [rule.text for rule in rules] == [
        "allow in from 10.1.0.0/16 to any",
        "route allow in on docker0 from any to any",
        "route allow out on docker0 from any to any",
        "route allow in on br-+ from any to any",
        "route allow out on br-+ from any to any",
    ]


def test_a_ufw_without_ipv6_gets_no_rules_for_it() -> None:
    declared = [one(port=22, sources=["10.0.0.0/8", "2001:db8::/32"], addresses=["192.0.2.10", "2001:db8::10"])]
    assert [rule.text for rule in ufw.wanted(declared, [], [], ipv6=False)] == [
        "allow in from 10.0.0.0/8 to 192.0.2.10 port 22 proto tcp"
    ]
    assert len(ufw.wanted(declared, [], [], ipv6=True)) == 2


@given(st.lists(ENTRIES, max_size=4))
def test_a_second_plan_is_empty(entries: list[dict[str, Any]]) -> None:
    """What ufw writes for our rules is read back as our rules. The line is as ufw's _write_rules makes it."""
    try:
        declared = declarations.openings(entries, "ports")
    except declarations.DeclarationError:
        return
    want = ufw.wanted(declared, [], [])
    lines = []
    for rule in want:
        for everything in ["::/0"] if ":" in rule.to + rule.source.replace("any", "") else ["0.0.0.0/0", "::/0"]:
            to, source = (everything if text == "any" else text for text in (rule.to, rule.source))
            words = [rule.action, rule.protocol, rule.port, to, "any", source, rule.direction, f"comment={HEXED}"]
            lines.append(f"### tuple ### {' '.join(words)}")
    assert ufw.plan(ufw.parse("\n".join(lines)), want) == ufw.Plan([], [])


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in", True),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("allow any 22 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("allow udp 22 0.0.0.0/0 any 0.0.0.0/0 in", True),
        ("limit_log tcp 443 0.0.0.0/0 any 0.0.0.0/0 in_eth0", True),
        ("deny tcp 443 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 out", False),
        ("route:allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("allow any any 0.0.0.0/0 any 10.0.0.0/8 in", False),
        ("allow any any 0.0.0.0/0 any 10.1.0.0/16 in", True),
        ("allow tcp 6000:6010 0.0.0.0/0 any 0.0.0.0/0 in", False),
        ("allow tcp 22,6011 0.0.0.0/0 any 0.0.0.0/0 in", True),
        ("allow esp any 0.0.0.0/0 any 0.0.0.0/0 in", False),
        (f"allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in comment={HEXED}", False),
    ],
)
def test_a_rule_that_the_guard_would_overrule_is_told(line: str, is_told: bool) -> None:
    rules = ufw.parse(f"### tuple ### {line}\n")
    assert rules
    found = ufw.undeclared(rules, [one(port=22), one(port="6000-6010")], [ipaddress.ip_network("10.0.0.0/8")])
    assert bool(found) is is_told
