package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"storekeeper/internal/build"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

// maxClockSkew is how far two clocks may differ before it is a warning. From 5 s on no store is stopped (storemanager.MaxAnswerLead).
const maxClockSkew = 2 * time.Second

// viewInstallation says what the system consists of.
func (s *Status) viewInstallation(st state) *api.Installation {
	v := &api.Installation{Databases: []storemanager.DatabaseSize{}}
	for _, u := range s.databases().Usage {
		v.Databases = append(v.Databases, storemanager.DatabaseSize(u))
	}
	if st.overview != nil && st.overview.Host != nil {
		v.StoreManagerVersion = st.overview.Host.Version
		v.Databases = append(v.Databases, st.overview.Host.Databases...)
	}
	if st.ahead != nil {
		v.StoreManagerAheadMs = new(st.ahead.Milliseconds())
	}
	if st.workers != nil {
		v.Workers = []api.Worker{}
		for _, w := range *st.workers {
			v.Workers = append(v.Workers, api.Worker{Identity: w.Identity, Version: w.Version, SeenAt: w.SeenAt.UTC()})
		}
	}
	v.VersionSkew = len(versions(st)) > 1
	return v
}

// versions are those of all processes that tell, each once, sorted.
func versions(st state) []string {
	all := []string{build.Version}
	if st.overview != nil && st.overview.Host != nil {
		all = append(all, st.overview.Host.Version)
	}
	if st.workers != nil {
		for _, w := range *st.workers {
			if w.Version != "" {
				all = append(all, w.Version)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// installationWarnings say what does not go together.
func installationWarnings(st state) (found []string) {
	if all := versions(st); len(all) > 1 {
		found = append(found, "versions: the processes are of "+strings.Join(all, ", ")+": finish the upgrade, reconciliation paused until then")
	}
	if st.ahead != nil && st.ahead.Abs() > maxClockSkew {
		found = append(found, fmt.Sprintf("clocks: the store manager's is %s ahead of the edge's: set both by NTP; from 5s on no store is stopped", st.ahead.Round(100*time.Millisecond)))
	}
	return found
}
