//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// attempts bounds how often a delivery is sent while it is answered 429 or 503.
const attempts = 10

// delivery is a workspace.created. Its repeats have the same id and body, and each has a signature of its own.
type delivery struct {
	id      string // "" for a delivery that has only the secret
	storeID string
	body    []byte
}

func newDelivery() delivery {
	d := delivery{id: "msg_" + uuid.NewString(), storeID: uuid.NewString()}
	d.body = fmt.Appendf(nil, `{"event":"workspace.created","instanceId":%q,"userId":%q,"timestamp":%q}`,
		d.storeID, uuid.NewString(), time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	return d
}

// answer is the last answer to a delivery.
type answer struct {
	code   int
	status string // the status in the body
	body   []byte
}

// sender plays the Auth Worker. It counts every answer.
type sender struct {
	url  string
	hook *standardwebhooks.Webhook
	http *http.Client

	mu      sync.Mutex
	answers map[string]int // counts by HTTP status and outcome
}

func newSender(edge string) (*sender, error) {
	hook, err := standardwebhooks.NewWebhook(key)
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: time.Minute}
	return &sender{
		url: edge + webhookPath, hook: hook, http: &http.Client{Transport: transport, Timeout: 30 * time.Second}, answers: map[string]int{},
	}, err
}

const webhookPath = "/webhooks/workspaces"

// send sends the delivery until it is taken or refused for good.
func (s *sender) send(ctx context.Context, d delivery) (a answer, err error) {
	for range attempts {
		var retryAfter time.Duration
		if a, retryAfter, err = s.sendOnce(ctx, d); err != nil || retryAfter == 0 {
			return a, err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
	return a, nil
}

// sendOnce sends once and returns how long to wait before the next attempt; 0 if there should be none.
func (s *sender) sendOnce(ctx context.Context, d delivery) (a answer, retryAfter time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(d.body))
	if err != nil {
		return a, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Webhook-Secret", secret)
	if d.id != "" {
		now := time.Now()
		signature, err := s.hook.Sign(d.id, now, d.body)
		if err != nil {
			return a, 0, err
		}
		req.Header.Set(standardwebhooks.HeaderWebhookID, d.id)
		req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
		req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return a, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	a.code = resp.StatusCode
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, 0, err
	}
	var content struct {
		Status any `json:"status"` // a number in a problem
	}
	if err := json.Unmarshal(a.body, &content); err != nil {
		return a, 0, fmt.Errorf("the edge answered %s with %.100q", resp.Status, a.body)
	}
	a.status, _ = content.Status.(string)
	s.count(a)
	if a.code == http.StatusTooManyRequests || a.code == http.StatusServiceUnavailable {
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil {
			return a, 0, fmt.Errorf("the edge answered %s without Retry-After", resp.Status)
		}
		retryAfter = max(time.Duration(seconds)*time.Second, 100*time.Millisecond)
	}
	return a, retryAfter, nil
}

func (s *sender) count(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strconv.Itoa(a.code)
	if a.status != "" {
		name += "_" + a.status
	}
	s.answers[name]++
}

// takeAnswers returns the counts since the last call.
func (s *sender) takeAnswers() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.answers
	s.answers = map[string]int{}
	return counts
}
