package authclient

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// bodyLimits bounds, in bytes after decompression, a whole list (all its pages) and any single entry or value in it. The decoder holds one
// entry in memory at a time, so the second bound keeps a list of any length, or one endless string, from filling the memory.
type bodyLimits struct{ total, value int64 }

var defaultBodyLimits = bodyLimits{total: 4 << 30, value: 1 << 20}

// listBody reads the body of an answer within its limits, and remembers why it could not go on.
type listBody struct {
	ctx         context.Context
	r           io.Reader
	idle        *time.Timer // aborts ctx; runs only while we wait for the Auth Worker
	idleTimeout time.Duration
	left        bodyLimits // what may still be read
	maxValue    int64
	err         error // why reading ended, unless with io.EOF; safe to show
}

// renew is called where a value or an entry begins.
func (b *listBody) renew() { b.left.value = b.maxValue }

// Read implements io.Reader.
func (b *listBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	switch {
	case b.left.total <= 0:
		b.err = damaged("it is too long")
		return 0, b.err
	case b.left.value <= 0:
		b.err = damaged("it holds a value that is too long")
		return 0, b.err
	}
	p = p[:min(int64(len(p)), b.left.total, b.left.value)]
	b.idle.Reset(b.idleTimeout)
	n, err := b.r.Read(p)
	b.idle.Stop() // the time that the receiver of the entries takes is not the Auth Worker's
	b.left.total -= int64(n)
	b.left.value -= int64(n)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	b.err = b.readError(err)
	return n, b.err
}

func (b *listBody) readError(err error) error {
	var corrupt flate.CorruptInputError
	switch cause := context.Cause(b.ctx); {
	case cause != nil:
		return fmt.Errorf("%w: %w", errReading, cause)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it is cut off")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return damaged("its compression is broken")
	}
	return fmt.Errorf("%w: %w", errReading, err)
}
