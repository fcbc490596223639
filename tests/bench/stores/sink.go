//go:build linux

package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// sink receives the batches of the store manager and checks everything about them.
type sink struct {
	url, secret string
	webhook     *standardwebhooks.Webhook
	server      *http.Server
	served      chan struct{} // closed when the server's goroutine has ended

	mu   sync.Mutex
	err  error // why the first refused batch was refused
	head map[string]int64
	got  received
	// first and last are when the first and the last batch came.
	first, last time.Time
}

// received is what has arrived. Each event counts once.
type received struct {
	events, duplicates  int64
	batches, disordered int64   // disordered batches left events out
	rate                float64 // events per second, from the first batch to the last
	latencies           []time.Duration
}

func startSink(ctx context.Context) (*sink, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it cannot fail
	webhook, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{
		url: "http://" + l.Addr().String(), secret: "whsec_" + base64.StdEncoding.EncodeToString(key), webhook: webhook,
		served: make(chan struct{}), head: map[string]int64{},
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(l) // ends with stop
	}()
	return s, nil
}

func (s *sink) stop() {
	_ = s.server.Close()
	<-s.served
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = s.webhook.Verify(body, r.Header)
	}
	if err == nil {
		err = s.take(body)
	}
	if err != nil {
		s.mu.Lock()
		s.err = cmp.Or(s.err, err)
		s.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// batch is the body of a POST.
type batch struct {
	Data struct {
		StoreID string `json:"storeId"`
		Events  []struct {
			Args sentEvent `json:"args"`
			Seq  int64     `json:"seqNum"`
		} `json:"events"`
	} `json:"data"`
}

func (s *sink) take(body []byte) error {
	var b batch
	if err := json.Unmarshal(body, &b); err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got.batches == 0 {
		s.first = now
	}
	s.last = now
	s.got.batches++
	head := s.head[b.Data.StoreID]
	for _, e := range b.Data.Events {
		if e.Seq <= head {
			s.got.duplicates++
			continue
		}
		if e.Seq > head+1 {
			s.got.disordered++
		}
		head = e.Seq
		s.got.events++
		s.got.latencies = append(s.got.latencies, now.Sub(time.UnixMicro(e.Args.At)))
	}
	s.head[b.Data.StoreID] = head
	return nil
}

// drained waits until so many events have arrived, or until no more arrive.
func (s *sink) drained(ctx context.Context, events int64) error {
	const quiet = 15 * time.Second
	for {
		s.mu.Lock()
		done := s.got.events >= events || time.Since(s.last) > quiet && !s.last.IsZero()
		s.mu.Unlock()
		if done {
			return nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// result is what has arrived, or why a batch was refused.
func (s *sink) result() (received, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	got.rate = float64(got.events) / s.last.Sub(s.first).Seconds()
	got.latencies = slices.Clone(got.latencies)
	return got, s.err
}
