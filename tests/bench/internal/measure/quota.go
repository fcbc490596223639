//go:build linux

package measure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Limit limits the process to a part of one core (0.3, for instance) from now on, in periods of 100 ms as containers have them. Where
// cgroups can't be made, the error is the kernel's. Call free when the process is gone.
func (c *Child) Limit(cores float64) (free func() error, err error) {
	const period = 100_000 // microseconds
	quota := int(cores * period)
	name := fmt.Sprintf("bench-%d", c.cmd.Process.Pid)
	// cgroups of version 1, and of version 2.
	for _, group := range []struct {
		dir   string
		files map[string]string
	}{
		{"/sys/fs/cgroup/cpu/" + name, map[string]string{"cpu.cfs_period_us": strconv.Itoa(period), "cpu.cfs_quota_us": strconv.Itoa(quota)}},
		{"/sys/fs/cgroup/" + name, map[string]string{"cpu.max": fmt.Sprintf("%d %d", quota, period)}},
	} {
		if e := limit(group.dir, group.files, c.cmd.Process.Pid); e != nil {
			_ = os.Remove(group.dir)
			err = errors.Join(err, e)
			continue
		}
		return func() error { return os.Remove(group.dir) }, nil
	}
	return nil, err
}

func limit(dir string, files map[string]string, pid int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, value := range files {
		if err := write(filepath.Join(dir, name), value); err != nil {
			return err
		}
	}
	return write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid))
}

// write writes to an existing file. It does not create one, because the files are the kernel's.
func write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
