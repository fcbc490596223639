package temporalserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"go.temporal.io/server/common/primitives"
)

// addresses are where Temporal's services listen.
type addresses struct {
	frontend, history, matching, worker netip.AddrPort
}

func (a addresses) services() map[primitives.ServiceName]netip.AddrPort {
	return map[primitives.ServiceName]netip.AddrPort{
		primitives.FrontendService: a.frontend,
		primitives.HistoryService:  a.history,
		primitives.MatchingService: a.matching,
		primitives.WorkerService:   a.worker,
	}
}

// reserveAddresses resolves the frontend's address and picks free loopback addresses for the other services.
func reserveAddresses(ctx context.Context, frontend string) (addresses, error) {
	var a addresses
	var err error
	if a.frontend, err = reserve(ctx, frontend); err != nil {
		return a, fmt.Errorf("temporal frontend: %w", err)
	}
	for _, internal := range []*netip.AddrPort{&a.history, &a.matching, &a.worker} {
		if *internal, err = reserve(ctx, "127.0.0.1:0"); err != nil {
			return a, fmt.Errorf("temporal service: %w", err)
		}
	}
	return a, nil
}

// reserve returns the IP address and port that hostPort stands for, or an error if something listens there. Temporal insists on listening
// itself, and does so only later. In between, the system gives the port to nobody who asks for any free port: a connection to it, closed
// from its side, stays in the state TIME_WAIT for a minute.
func reserve(ctx context.Context, hostPort string) (netip.AddrPort, error) {
	var none netip.AddrPort
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", hostPort)
	if err != nil {
		return none, err
	}
	defer listener.Close()
	client, err := (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return none, err
	}
	defer client.Close()
	accepted, err := listener.Accept()
	if err != nil {
		return none, err
	}
	if err := accepted.Close(); err != nil {
		return none, err
	}
	return listener.Addr().(*net.TCPAddr).AddrPort(), nil
}
