# Usage: sh FILE [--json]. Exit codes: 0 nothing wrong, 1 warnings, 2 errors.

form=text
[ "$1" = --json ] && form=json
errors=0 warnings=0 notes=0 items=''
newline='
'

# report SEVERITY ID SEEN BREAKS CURE
report() {
    case $1 in
        ERROR) errors=$((errors + 1)) ;;
        warning) warnings=$((warnings + 1)) ;;
        note) notes=$((notes + 1)) ;;
    esac
    if [ "$form" = text ]; then
        printf '%-8s %s: %s\n         breaks: %s\n         cure:    %s\n' "$1" "$2" "$3" "$4" "$5"
        return
    fi
    word=$1
    [ "$word" = ERROR ] && word=error
    item=$(printf '{"id":"%s","severity":"%s","seen":"%s","breaks":"%s","cure":["%s"]}' \
        "$2" "$word" "$(quote "$3")" "$(quote "$4")" "$(quote "$5")")
    items="$items${items:+,$newline    }$item"
}

quote() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | tr '\n\t' '  '; }

# setting NAME: a kernel setting, path with slashes
setting() { cat "/proc/sys/$1" 2>/dev/null; }

# effective LINK NAME: the larger of the link's and that for all, as the kernel takes it
effective() {
    all=$(setting "net/ipv4/conf/all/$2") own=$(setting "net/ipv4/conf/$1/$2")
    if [ "${all:-0}" -gt "${own:-0}" ]; then echo "${all:-0}"; else echo "${own:-0}"; fi
}

uses() { case " $METHODS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# link_of ADDRESS: links that hold it, each as LINK PREFIXLENGTH
link_of() {
    ip -o addr show 2>/dev/null | awk -v want="$1" '{
        split($4, a, "/"); if (a[1] == want) { sub(/@.*/, "", $2); print $2, (a[2] == "" ? ($3 == "inet" ? 32 : 128) : a[2]) }
    }'
}

is_loopback() { [ "$(cat "/sys/class/net/$1/type" 2>/dev/null)" = 772 ] || [ "$1" = lo ]; }

# Links that answer no ARP: loopback, dummy, tunnels
is_quiet() {
    is_loopback "$1" && return 0
    ip -o link show dev "$1" 2>/dev/null | grep -Eq 'NOARP|link/(ipip|sit|tunnel6|gre)'
}

# The links by which this host's own addresses are reached
own_links() { for address in $OWN; do link_of "$address" | cut -d' ' -f1; done | sort -u; }

default_link() { ip route show default 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1; }

check_tools() {
    command -v ip >/dev/null 2>&1 && return
    report ERROR no-ip "program ip is not installed" "nothing can be looked at here" "apt install iproute2"
    finish
}

check_own() {
    for address in $OWN; do
        [ -n "$(link_of "$address")" ] && return
    done
    report ERROR own-address "none of the real server's addresses ($OWN) is on this host" \
        "either this is another host, or its checks fail and nothing reaches it" "ip -br addr"
}

# With direct routing and tunnels packets arrive for the virtual address itself.
check_vips() {
    for vip in $VIPS4 $VIPS6; do
        full=32
        case $vip in *:*) full=128 ;; esac
        held=$(link_of "$vip")
        if [ -z "$held" ]; then
            report ERROR vip-on-lo "no link of this host has the virtual address $vip" \
                "packets that the director sends here are not taken in: every connection hangs" \
                "ip addr add $vip/$full dev lo"
            continue
        fi
        echo "$held" | while read -r link length; do echo "$link" "$length"; done >"$scratch"
        while read -r link length; do
            if ! is_quiet "$link"; then
                report ERROR vip-answers "the virtual address $vip is on $link" \
                    "this host answers ARP and neighbour requests for it: clients come here past the director" \
                    "ip addr del $vip/$length dev $link; ip addr add $vip/$full dev lo"
            elif is_loopback "$link" && [ "$length" != "$full" ]; then
                report ERROR vip-prefix "$link has the virtual address $vip with prefix length $length" \
                    "on lo this makes the whole subnet local: this host no longer reaches its neighbours" \
                    "ip addr del $vip/$length dev $link; ip addr add $vip/$full dev lo"
            fi
        done <"$scratch"
    done
}

check_arp() {
    [ -n "$VIPS4" ] || return
    for link in $(own_links); do
        is_quiet "$link" && continue
        ignore=$(effective "$link" arp_ignore) announce=$(effective "$link" arp_announce)
        case $ignore in
            1 | 2 | 3) ;;
            *) report ERROR arp-ignore "net.ipv4.conf.$link.arp_ignore is in effect $ignore" \
                "this host answers ARP for the virtual address on lo: clients come here past the director" \
                "sysctl -w net.ipv4.conf.all.arp_ignore=1" ;;
        esac
        [ "$announce" = 2 ] || report ERROR arp-announce "net.ipv4.conf.$link.arp_announce is in effect $announce" \
            "this host puts the virtual address into its own ARP requests: the router learns it wrongly" \
            "sysctl -w net.ipv4.conf.all.arp_announce=2"
    done
}

check_rp_filter() {
    [ -n "$VIPS4" ] || return
    if uses ipip; then
        for link in $(tunnels ipip); do
            [ "$(effective "$link" rp_filter)" = 1 ] && report ERROR rp-filter \
                "net.ipv4.conf.$link.rp_filter is in effect 1 (strict)" \
                "unpacked packets come from clients that are not reached by the tunnel, and are dropped unseen" \
                "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.$link.rp_filter=0"
        done
    fi
    uses gate || return
    back=$(default_link)
    for link in $(own_links); do
        if [ -n "$back" ] && [ "$back" != "$link" ] && [ "$(effective "$link" rp_filter)" = 1 ]; then
            report ERROR rp-filter "net.ipv4.conf.$link.rp_filter is in effect 1 (strict) and the default route leaves by $back" \
                "the director's packets come in by a link that does not lead back to the clients, and are dropped unseen" \
                "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.$link.rp_filter=2"
        fi
    done
}

# tunnels KIND: links of that kind that are up
tunnels() { ip -o link show type "$1" up 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/'; }

check_tunnel() {
    uses ipip || return
    kind=ipip device=tunl0 module=ipip header=20
    case $OWN in *:*) kind=ip6tnl device=ip6tnl0 module=ip6_tunnel header=40 ;; esac
    if [ -z "$(tunnels $kind)" ]; then
        report ERROR tunnel-device "this host has no $kind link that is up" \
            "packets that the director wraps are not unpacked here: every connection hangs" \
            "modprobe $module; ip link set $device up"
    fi
    [ -n "$VIPS4" ] && [ $kind = ipip ] || return
    for link in $(own_links); do
        mtu=$(ip -o link show dev "$link" | sed -n 's/.* mtu \([0-9]*\).*/\1/p')
        [ "${mtu:-0}" -ge 1520 ] && continue
        mss=$(ip route show default | sed -n 's/.*advmss \([0-9]*\).*/\1/p' | head -n 1)
        most=$((${mtu:-1500} - header - 40))
        if { [ -z "$mss" ] || [ "$mss" -gt "$most" ]; } && ! clamped; then
            report warning mtu "$link carries ${mtu:-?} bytes and this host announces segments of ${mss:-$((${mtu:-1500} - 40))}" \
                "with the tunnel's header full packets of clients do not fit: large uploads hang where ICMP is dropped" \
                "ip route change default via GATEWAY dev $link advmss $most"
        fi
    done
}

# The packet filter corrects what is announced.
clamped() {
    { nft list ruleset; iptables-save; } 2>/dev/null | grep -Eq 'maxseg size set|TCPMSS'
}

check_gateway() {
    uses masq || return
    [ -n "$GATEWAYS" ] || return
    for v in 4 6; do
        expected=''
        for gateway in $GATEWAYS; do
            case $gateway in *:*) [ $v = 6 ] ;; *) [ $v = 4 ] ;; esac && expected="$expected $gateway"
        done
        [ -n "$expected" ] || continue
        seen=$(ip -$v route show default | sed -n 's/.* via \([^ ]*\).*/\1/p' | head -n 1)
        case " $expected " in *" $seen "*) [ -n "$seen" ] && continue ;; esac
        report ERROR gateway "the default gateway is ${seen:-missing}, expected is one of$expected" \
            "answers do not go back through the director, so clients get them from an address that they do not know" \
            "ip -$v route replace default via ${expected##* }"
    done
}

check_listen() {
    command -v ss >/dev/null 2>&1 || return
    for entry in $LISTEN; do
        protocol=${entry%%|*} rest=${entry#*|}
        address=${rest%|*} port=${rest##*|}
        flag=t
        [ "$protocol" = udp ] && flag=u
        ss -Hln$flag 2>/dev/null | awk -v a="$address" -v p="$port" '
            { local = $4; n = split(local, part, ":"); if (part[n] != p) next
              host = substr(local, 1, length(local) - length(part[n]) - 1); gsub(/[][]/, "", host); sub(/%.*/, "", host)
              if (host == a || host == "*" || host == "::" || (host == "0.0.0.0" && index(a, ":") == 0)) found = 1 }
            END { exit !found }' && continue
        report ERROR listen "no program listens on $protocol $address port $port" \
            "the director's packets for the service are refused here" \
            "make the server listen on all addresses or on $address (ss -ln$flag)"
    done
}

finish() {
    if [ "$form" = json ]; then
        printf '{\n  "host": "%s",\n  "findings": [\n    %s\n  ]\n}\n' "$NAME" "$items"
    else
        echo "$NAME: $errors errors, $warnings warnings, $notes notes"
    fi
    rm -f "$scratch"
    [ $errors -gt 0 ] && exit 2
    [ $warnings -gt 0 ] && exit 1
    exit 0
}

scratch=$(mktemp) || exit 2
check_tools
check_own
check_vips
check_arp
check_rp_filter
check_tunnel
check_gateway
check_listen
finish
