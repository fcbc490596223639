//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// freeAddress returns an address where a server can listen, and listen again after a restart. It avoids the ports that the system gives to
// outgoing connections. Ten thousand connections try to reach a dead server: in that range one of them would get the server's own port, and
// be connected to itself.
func freeAddress(ctx context.Context) (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port found")
}
