package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestAnEdgeWhoseWorkersFallBehindRefusesEventsAndLosesNone(t *testing.T) {
	t.Parallel()
	s := startSplit(t, "WEBHOOK_WAIT=100ms", "WEBHOOK_MAX_BACKLOG_AGE=2s")
	var taken []string
	s.Auth.SetWebhooksLost(true)
	user := s.SignUp()
	s.Auth.SetWebhooksLost(false)
	workspace := func() string { // one that the list has: else it would be that of another installation
		id := uuid.NewString()
		admin(s.Installation, user, id, true)
		return id
	}
	s.Eventually("events are refused", func() bool {
		id := workspace()
		r := s.Webhook("workspace.created", id, time.Now())
		if r.Code == http.StatusAccepted {
			taken = append(taken, id)
		}
		return r.Code == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != ""
	})
	require.NotEmpty(t, taken)
	health := s.Do(http.MethodGet, s.EdgeURL+"/health", "")
	require.Equal(t, http.StatusServiceUnavailable, health.Code)
	require.Contains(t, health.Body, "webhooks are refused")
	lost := s.SignUpSilently()

	s.startWorker(t)
	s.Eventually("events are taken again", func() bool {
		return s.Webhook("workspace.created", workspace(), time.Now()).Code < http.StatusMultipleChoices
	})
	for _, id := range taken {
		s.Eventually("what was answered 2xx took effect", func() bool { return s.Monitored(id) })
	}
	s.Eventually("a reconcile repairs what was refused", func() bool { return s.Monitored(lost) })
}
