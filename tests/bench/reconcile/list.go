//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// listMode is the first argument of a child that is the Auth Worker.
const listMode = "lists"

// serveLists is the child. It prints its URL and answers requests below /N with a list of N workspaces, until its standard input ends.
func serveLists(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{n}/internal/workspaces", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseUint(r.PathValue("n"), 10, 64)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		writeList(w, n) // fails only if the caller has gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(os.Stdout, "http://"+l.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// writeList writes the list of the first n workspaces, each once. It makes each entry as it is sent, 224 bytes as a real one has, and keeps
// none. The ids are in no order.
func writeList(w io.Writer, n uint64) {
	out := bufio.NewWriterSize(w, 64<<10)
	_, _ = out.WriteString(`{"workspaces":[`)
	var entry []byte
	for i := range n {
		entry = append(entry[:0], `{"instanceId":"`...)
		entry = appendUUID(entry, i)
		entry = append(entry, `","userId":"`...)
		entry = appendUUID(entry, ^i)
		entry = append(entry, `","name":"A workspace","createdAt":"2026-11-23T18:29:10.028Z","lastAccessedAt":"2026-11-23T18:29:10.028Z","isDefault":false}`...)
		if i+1 < n {
			entry = append(entry, ',')
		}
		_, _ = out.Write(entry)
	}
	_, _ = fmt.Fprintf(out, `],"metadata":{"totalUsers":%d,"totalWorkspaces":%d}}`, n, n)
	_ = out.Flush()
}

// appendUUID appends the n-th of a series of different UUIDs, which is in no order.
func appendUUID(b []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	high := n * 0x9e3779b97f4a7c15 // the factor is odd, so no two are equal
	var text [36]byte
	for i := range text {
		text[i] = digits[high>>(60-i%16*4)&15]
	}
	text[8], text[13], text[18], text[23], text[14] = '-', '-', '-', '-', '4'
	return append(b, text[:]...)
}
