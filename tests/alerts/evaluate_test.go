package alerts_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scrape is what /metrics answered: samples by series, at a moment. up is false when nothing was answered.
type scrape struct {
	at      time.Time
	up      bool
	samples map[string]float64
}

var sample = regexp.MustCompile(`(?m)^([a-z_][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)

// parse reads the text format. The series get the labels of Prometheus' own: job and instance.
func parse(t *testing.T, body, instance string, at time.Time) scrape {
	t.Helper()
	s := scrape{at: at, up: true, samples: map[string]float64{}}
	for _, line := range sample.FindAllStringSubmatch(body, -1) {
		value, err := strconv.ParseFloat(line[3], 64)
		require.NoError(t, err)
		labels := fmt.Sprintf(`job="storekeeper",instance=%q`, instance)
		if line[2] != "" {
			labels += "," + line[2]
		}
		s.samples[line[1]+"{"+labels+"}"] = value
	}
	require.NotEmpty(t, s.samples)
	return s
}

// together is a scrape of several processes.
func together(all ...scrape) scrape {
	s := scrape{at: all[0].at, up: true, samples: map[string]float64{}}
	for _, one := range all {
		maps.Copy(s.samples, one.samples)
	}
	return s
}

// before is how long, in minutes, what was scraped before the condition came true is shown to the rules. A minute of theirs is a minute of a
// Prometheus that scrapes once in it; nobody waits for it.
const before = 30

// shows says whether the alert fires while Prometheus gets first (for half an hour, as a system that goes on like that) and then second (for so many
// minutes, as one in which nothing moves any more). It must not fire during the first; first may be nil. said is what promtool says if not.
func shows(t *testing.T, alert, severity string, first *scrape, second scrape, minutes int) (fires bool, said string) {
	t.Helper()
	every := 1 // minute from one scrape to the next
	if minutes > 10*60 {
		every = 10
	}
	firing := fmt.Sprintf(`alertname="%s",severity="%s",alertstate="firing"`, alert, severity)
	return evaluate(t, series(t, first, second, minutes, every), every,
		expectation{at: before - every, over: before - every, alerts: firing}, expectation{at: before + minutes - every, over: minutes - every, alerts: firing, fire: true})
}

// expectation says whether alerts with these labels fire at any time within so many minutes before a minute.
type expectation struct {
	at, over int
	alerts   string
	fire     bool
}

// evaluate has promtool evaluate the rules.
func evaluate(t *testing.T, series string, every int, expected ...expectation) (ok bool, said string) {
	t.Helper()
	folder, err := filepath.Abs(rules)
	require.NoError(t, err)
	text := fmt.Sprintf("rule_files: [%[1]s/recording.yml, %[1]s/alerts.yml]\nevaluation_interval: %[2]dm\ntests:\n- interval: %[2]dm\n  input_series:\n%[3]s  promql_expr_test:\n",
		folder, every, series)
	for _, e := range expected {
		want := map[bool]int{true: 1}[e.fire]
		text += fmt.Sprintf("  - expr: 'max_over_time(((count(ALERTS{%s}) > bool 0) or vector(0))[%dm:%dm])'\n    eval_time: %dm\n    exp_samples: [{ labels: '{}', value: %d }]\n",
			e.alerts, e.over, every, e.at, want)
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	said, ok = run(t, "test", "rules", path)
	return ok, said
}

// series are what was scraped, in promtool's notation: first, and then second, a value in every so many minutes.
func series(t *testing.T, first *scrape, second scrape, minutes, every int) string {
	t.Helper()
	var series strings.Builder
	used := usedNames(t)
	// values is a value count times, missing stands for none; "" for a count of 0.
	values := func(name string, value float64, at time.Time, minute, count int, moves bool) string {
		if count == 0 {
			return ""
		}
		step := 0.0
		if strings.HasSuffix(name, "_timestamp_seconds") { // a promtool's time begins at 0
			value += float64(minute*60) - float64(at.UnixMilli())/1000
			if moves {
				step = float64(60 * every)
			}
		}
		return fmt.Sprintf("%s%+gx%d", strconv.FormatFloat(value, 'f', -1, 64), step, count/every-1)
	}
	missing := func(count int) string {
		if count == 0 {
			return ""
		}
		return fmt.Sprintf("_x%d", count/every)
	}
	add := func(id string, one, two string) {
		fmt.Fprintf(&series, "  - series: '%s'\n    values: '%s %s'\n", id, one, two)
	}
	all := map[string]bool{}
	for id := range second.samples {
		all[id] = true
	}
	if first != nil {
		for id := range first.samples {
			all[id] = true
		}
	}
	for id := range all {
		name, _, _ := strings.Cut(id, "{")
		if !used[name] {
			continue
		}
		one, two := missing(before), missing(minutes)
		if first != nil {
			if v, ok := first.samples[id]; ok && !math.IsNaN(v) {
				one = values(name, v, first.at, 0, before, true)
			}
		}
		if v, ok := second.samples[id]; ok && !math.IsNaN(v) {
			two = values(name, v, second.at, before, minutes, false)
		}
		add(id, one, two)
	}
	up := map[bool]float64{true: 1}[second.up]
	add(`up{job="storekeeper",instance="it"}`, values("up", 1, second.at, 0, before, false), values("up", up, second.at, before, minutes, false))
	return series.String()
}

var (
	metricName = regexp.MustCompile(`\b(?:storekeeper|temporal)_[a-z0-9_]+\b`)
	alertLine  = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	severities = regexp.MustCompile(`severity: (\w+)`)
)

// usedNames are the metrics that rules read.
func usedNames(t *testing.T) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	for _, path := range glob(t, "deploy/prometheus/rules/*.yml") {
		for _, name := range metricName.FindAllString(read(t, path), -1) {
			used[name] = true
		}
	}
	return used
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// known are the alerts of the rules, as NAME/SEVERITY.
func known(t *testing.T) (all []string) {
	t.Helper()
	text := read(t, rules+"/alerts.yml")
	names, levels := alertLine.FindAllStringSubmatch(text, -1), severities.FindAllStringSubmatch(text[strings.Index(text, "groups:"):], -1)
	require.Len(t, levels, len(names))
	for i, name := range names {
		all = append(all, name[1]+"/"+levels[i][1])
	}
	require.NotEmpty(t, all)
	return all
}
