package proctest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// FreeAddress is an address of the loopback interface at which nobody listens: for a server, also one that is started again there, or for
// a server that is away. Its port is below those that the kernel gives to outgoing connections. Such a port could be another
// connection's when the server comes back, and a client that is given the port it wants to reach connects to itself.
func FreeAddress(ctx context.Context) (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port found")
}
