package process

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// hangups are what SIGHUP does: it ends the context, until there are files of secrets to read again.
type hangups struct {
	reload  chan struct{} // has one element when the files are to be read
	reloads atomic.Bool
}

// hangupsKey is where a context has its hangups.
type hangupsKey struct{}

// terminalTime is how long after a SIGHUP the terminal must still be there, if there was one: then it was no terminal that has closed.
const terminalTime = 100 * time.Millisecond

// hangup returns a context that ends when the terminal is closed, unless the process was started to outlive it (nohup). More of these
// signals change nothing: a shell and the kernel may each send one. A SIGHUP that somebody sends ends it too, unless there are secrets to reload.
func hangup(ctx context.Context) context.Context {
	outlives, had := signal.Ignored(syscall.SIGHUP), hasTerminal()
	h := &hangups{reload: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.WithValue(ctx, hangupsKey{}, h))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		for range signals {
			if !h.reloads.Load() {
				if !outlives {
					cancel()
				}
				continue
			}
			select {
			case h.reload <- struct{}{}:
			default:
			}
			if had && !outlives {
				time.AfterFunc(terminalTime, func() {
					if !hasTerminal() {
						cancel()
					}
				})
			}
		}
	}()
	return ctx
}

// hasTerminal says whether the process has a controlling terminal.
func hasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	_ = tty.Close()
	return true
}
