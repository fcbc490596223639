package standalone

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// exemptFromProxies makes connections within this process use no proxy, whatever the environment says about proxies. Loopback is exempt
// anyway. Other addresses that the process listens on are added to NO_PROXY, for the parts that can't be told otherwise: Temporal's own
// clients and those of the Web UI. Call it first, because net/http and gRPC read the variable once, when they first use it.
func exemptFromProxies(ctx context.Context, listens ...string) error {
	var own []string
	for _, listen := range listens {
		host, _, err := net.SplitHostPort(listen)
		if err != nil {
			continue // the listener itself reports what is wrong with it, and "" is nowhere
		}
		if host == "" {
			host = netip.IPv6Unspecified().String()
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue // the listener itself reports it
		}
		for _, addr := range addrs {
			switch addr = addr.Unmap(); {
			case addr.IsUnspecified(): // the listener's own address may be the other one
				own = append(own, netip.IPv4Unspecified().String(), netip.IPv6Unspecified().String())
			case !addr.IsLoopback():
				own = append(own, addr.String())
			}
		}
	}
	if len(own) == 0 {
		return nil
	}
	slices.Sort(own)
	exempt := strings.Join(slices.Compact(own), ",")
	upper, lower := os.Getenv("NO_PROXY"), os.Getenv("no_proxy") // libraries differ in which of the two they prefer
	for name, given := range map[string]string{"NO_PROXY": cmp.Or(upper, lower), "no_proxy": cmp.Or(lower, upper)} {
		if err := os.Setenv(name, strings.TrimSuffix(exempt+","+given, ",")); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
