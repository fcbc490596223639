//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	soakPause = 200 * time.Millisecond // between two events
	// soakStores is how many stores are created and deleted again and again, each once a minute. The deletion of a store follows soakDelay
	// creations after its own, and is done before its next creation.
	soakStores = 150
	soakDelay  = 25
	// soakRetention must pass before the first look: otherwise the files could only grow.
	soakRetention = "2m"
	// targetGrowth is how much a figure may grow compared with the first look.
	targetGrowth = 0.1
)

// soakFigures are the metrics that must not grow.
var soakFigures = []string{
	"process_resident_memory_bytes", "go_goroutines",
	"storekeeper_database_size_bytes/temporal", "storekeeper_database_size_bytes/temporal_visibility", "storekeeper_database_size_bytes/registry",
}

// measureSoak sends five events a second, creations and deletions with a short grace period, and looks at memory and files after each third
// of the time.
func (b *bench) measureSoak(ctx context.Context, binary, authWorker string) error {
	if b.soak == 0 {
		return nil
	}
	b.say("five events a second for %s", b.soak)
	s, err := b.startStandalone(ctx, binary, authWorker, filepath.Join(b.dir, "soak"),
		[]string{"DELETION_GRACE_PERIOD=20s", "TEMPORAL_RETENTION=" + soakRetention})
	if err != nil {
		return err
	}
	defer s.Kill()
	b.standalone = s
	if b.sender, err = newSender(s.url); err != nil {
		return err
	}
	ids, user := make([]string, soakStores), uuid.NewString()
	for i := range ids {
		ids[i] = uuid.NewString()
	}
	var first map[string]float64
	began := time.Now()
	tick := time.NewTicker(soakPause)
	defer tick.Stop()
	for i, third := 0, 1; third <= 3; i++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Ended:
			return s.Gone()
		case <-tick.C:
		}
		d, due := soakEvent(i, ids, user)
		if !due {
			continue
		}
		if a, err := b.sender.send(ctx, d); err != nil || a.code >= http.StatusMultipleChoices {
			return errors.Join(fmt.Errorf("event answered %d %s", a.code, a.body), err)
		}
		if time.Since(began) < time.Duration(third)*b.soak/3 {
			continue
		}
		now, err := b.soakFigures(ctx)
		if err != nil {
			return err
		}
		if third == 1 {
			first = now
		}
		b.reportSoak(third, now, first)
		b.say("after %s: %v", time.Since(began).Round(time.Second), now)
		third++
	}
	for name, n := range b.sender.takeAnswers() {
		b.report.Add("g_answers_"+name, float64(n), "")
	}
	return nil
}

// soakEvent returns the i-th event: in turns a creation, and the deletion of the store that was created soakDelay creations before. At first
// there is no such store, and no deletion is due.
func soakEvent(i int, ids []string, user string) (d delivery, due bool) {
	kind, n := "workspace.created", i/2
	if i%2 == 1 {
		kind, n = "workspace.deleted", i/2-soakDelay
	}
	if n < 0 {
		return delivery{}, false
	}
	d.storeID = ids[n%soakStores]
	d.body = fmt.Appendf(nil, `{"event":%q,"instanceId":%q,"userId":%q,"timestamp":%q}`, kind, d.storeID, user, time.Now().UTC().Format(time.RFC3339Nano))
	return d, true
}

// reportSoak adds the figures of a look, and how much they have grown since the first one.
func (b *bench) reportSoak(third int, now, first map[string]float64) {
	for _, name := range soakFigures {
		short := "g_" + strings.NewReplacer("storekeeper_database_size_bytes/", "size_", "process_", "", "go_", "").Replace(name)
		b.report.Add(fmt.Sprintf("%s_%d", short, third), now[name], "")
		if third > 1 {
			b.report.AtMost(fmt.Sprintf("%s_%d_growth", short, third), now[name]/first[name]-1, "", targetGrowth)
		}
	}
}

// soakFigures scrapes the standalone. Files and memory go up and down, so each figure is the median of a few scrapes.
func (b *bench) soakFigures(ctx context.Context) (map[string]float64, error) {
	all := map[string][]float64{}
	for range 5 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.standalone.url+"/metrics", http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := b.sender.http.Do(req)
		if err != nil {
			return nil, err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		for name, family := range families {
			for _, m := range family.GetMetric() {
				series := []string{name}
				for _, l := range m.GetLabel() {
					series = append(series, l.GetValue())
				}
				key := strings.Join(series, "/")
				all[key] = append(all[key], m.GetGauge().GetValue())
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	figures := map[string]float64{}
	for _, name := range soakFigures {
		if len(all[name]) == 0 {
			return nil, fmt.Errorf("/metrics has no %s", name)
		}
		slices.Sort(all[name])
		figures[name] = all[name][len(all[name])/2]
	}
	return figures, nil
}
