//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"storekeeper/internal/livestore"
	"storekeeper/tests/bench/internal/measure"
)

// bareMode is the first argument of a child that only has clients of the sync protocol. The backend's URL and the number of clients follow.
const bareMode = "bare"

// connectBare is the child. It prints a line, makes that many live pulls, prints how many seconds that took, and waits until its standard
// input ends.
func connectBare(ctx context.Context, url, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "started"); err != nil {
		return err
	}
	if _, err := fmt.Scanln(); err != nil { // the parent has read the memory as it was before
		return err
	}
	start := time.Now()
	var up sync.WaitGroup
	up.Add(n)
	var dialing errgroup.Group
	dialing.SetLimit(maxDials)
	failed := make(chan error, 1)
	for i := range n {
		dialing.Go(func() error {
			conn, err := livestore.Dial(ctx, syncOptions(url, storeID(i)))
			if err != nil {
				return err
			}
			go func() {
				first := sync.OnceFunc(up.Done)
				err := conn.Pull(ctx, livestore.Cursor{}, func(_ context.Context, _ livestore.Page) error { first(); return nil })
				select {
				case failed <- err:
				default:
				}
			}()
			return nil
		})
	}
	if err := dialing.Wait(); err != nil {
		return err
	}
	up.Wait()
	if _, err := fmt.Fprintln(os.Stdout, time.Since(start).Seconds()); err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		select {
		case failed <- err:
		default:
		}
	}()
	return <-failed
}

// syncOptions are the options of a connection for the store, as the store manager makes them.
func syncOptions(url, id string) livestore.Options {
	return livestore.Options{URL: url, StoreID: id, Payload: map[string]string{"serverBypass": token, "instanceId": id}}
}

// bare is what a child of bare clients needed.
type bare struct {
	seconds    float64 // until all were connected
	connection float64 // KiB
	cpu        float64 // percent of one core, idle
}

func (b *bench) measureBare(ctx context.Context, url string, n int) (r bare, err error) {
	c, err := measure.StartSelf(ctx, b.dir, bareMode, url, strconv.Itoa(n))
	if err != nil {
		return r, err
	}
	defer c.Kill()
	if _, err = c.Line(); err != nil {
		return r, err
	}
	before, err := c.Memory("VmRSS")
	if err != nil {
		return r, err
	}
	if _, err := fmt.Fprintln(c.Stdin); err != nil {
		return r, c.Gone()
	}
	seconds, err := c.Line()
	if err != nil {
		return r, err
	}
	if r.seconds, err = strconv.ParseFloat(seconds, 64); err != nil {
		return r, err
	}
	after, cpu, err := c.Usage(ctx, b.idle)
	r.connection, r.cpu = (after-before)*1024/float64(n), cpu
	return r, err
}
