//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"storekeeper/tests/bench/internal/measure"
)

const (
	// garbageMode is the first argument of a child that sends what must be refused. The edge's URL and the number of requests a second
	// follow.
	garbageMode = "garbage"
	// mostUnderWay bounds how many requests wait for their answers. A request that is due beyond that is counted and not sent.
	mostUnderWay = 1000
)

// sent is what became of the garbage. Its fields are counts.
type sent struct {
	Due     int            `json:"due"`
	Seconds float64        `json:"seconds"`
	Answers map[string]int `json:"answers"` // by kind and HTTP status; without a status the connection was closed, or all were busy
}

func (s *sent) add(more sent) {
	s.Due += more.Due
	s.Seconds += more.Seconds
	if s.Answers == nil {
		s.Answers = map[string]int{}
	}
	for name, n := range more.Answers {
		s.Answers[name] += n
	}
}

// kindOfGarbage is a request that must be refused.
type kindOfGarbage struct {
	name   string
	header map[string]string
	body   []byte
}

func kindsOfGarbage() []kindOfGarbage {
	event := newDelivery().body
	const contentType, secretHeader, json = "Content-Type", "X-Webhook-Secret", "application/json"
	return []kindOfGarbage{
		{"no_secret", map[string]string{contentType: json}, event},
		{"wrong_secret", map[string]string{contentType: json, secretHeader: "not-" + secret}, event},
		{"wrong_signature", map[string]string{
			contentType: json, standardwebhooks.HeaderWebhookID: "msg_garbage",
			standardwebhooks.HeaderWebhookTimestamp: strconv.FormatInt(time.Now().Unix(), 10),
			standardwebhooks.HeaderWebhookSignature: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
		}, event},
		{"malformed", map[string]string{contentType: json, secretHeader: secret}, []byte(`{"event":"workspace.created","instanceId":`)},
		{"too_large", map[string]string{contentType: json, secretHeader: secret}, bytes.Repeat([]byte(" "), 100<<10)},
		{"content_type", map[string]string{contentType: "text/plain", secretHeader: secret}, event},
	}
}

// sendGarbage is the child. A line on its standard input makes it start. The next line makes it stop and print what it has sent.
func sendGarbage(ctx context.Context, edge, perSecond string) error {
	rate, err := strconv.Atoi(perSecond)
	if err != nil {
		return err
	}
	g := &garbage{
		url: edge + webhookPath, kinds: kindsOfGarbage(),
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: mostUnderWay}},
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		run, cancel := context.WithCancel(ctx)
		done := make(chan sent)
		go func() { done <- g.run(run, rate) }()
		more := in.Scan()
		cancel()
		result := <-done
		if !more {
			return in.Err()
		}
		if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
			return err
		}
	}
	return nil
}

type garbage struct {
	url   string
	kinds []kindOfGarbage
	http  *http.Client
}

// run sends a fixed number of requests a second, however slowly they are answered, until ctx ends.
func (g *garbage) run(ctx context.Context, rate int) sent {
	result := sent{Answers: map[string]int{}}
	var mu sync.Mutex
	count := func(kind kindOfGarbage, outcome string) {
		mu.Lock()
		defer mu.Unlock()
		result.Answers[kind.name+"_"+outcome]++
	}
	underWay := make(chan struct{}, mostUnderWay)
	var requests sync.WaitGroup
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for due := int(time.Since(start).Seconds() * float64(rate)); result.Due < due; result.Due++ {
			kind := g.kinds[result.Due%len(g.kinds)]
			select {
			case underWay <- struct{}{}:
			default:
				count(kind, "unsent")
				continue
			}
			requests.Go(func() {
				count(kind, g.send(kind))
				<-underWay
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	result.Seconds = time.Since(start).Seconds()
	requests.Wait()
	return result
}

func (g *garbage) send(kind kindOfGarbage) string {
	req, err := http.NewRequest(http.MethodPost, g.url, bytes.NewReader(kind.body))
	if err != nil {
		return "unsent"
	}
	for name, value := range kind.header {
		req.Header.Set(name, value)
	}
	resp, err := g.http.Do(req)
	if err != nil { // the edge may close the connection while a large body is on its way
		return "closed"
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return strconv.Itoa(resp.StatusCode)
}

// beside sends garbage while do runs.
func (s *sent) beside(child *measure.Child, do func() error) error {
	if _, err := fmt.Fprintln(child.Stdin, "start"); err != nil {
		return child.Gone()
	}
	failed := do()
	if _, err := fmt.Fprintln(child.Stdin, "stop"); err != nil {
		return errors.Join(failed, child.Gone())
	}
	line, err := child.Line()
	if err != nil {
		return errors.Join(failed, err)
	}
	var more sent
	err = json.NewDecoder(strings.NewReader(line)).Decode(&more)
	s.add(more)
	return errors.Join(failed, err)
}
