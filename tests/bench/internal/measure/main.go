//go:build linux

package measure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Main is the main of a benchmark. It calls run until that returns or somebody interrupts it, and prints what went wrong. run may be asked
// to be a child of the benchmark; see StartSelf.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Numbers reads numbers separated by commas, each at least least. An empty text is an error.
func Numbers(s string, least int) ([]int, error) {
	var numbers []int
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < least {
			return nil, fmt.Errorf("%q: want numbers of at least %d separated by commas", s, least)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// StartSelf starts this program again as a child with these arguments. The first argument names its log in dir. Its temporary files go to
// dir too.
func StartSelf(ctx context.Context, dir string, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return StartChild(ctx, filepath.Join(dir, args[0]+".log"), []string{"TMPDIR=" + dir}, self, args...)
}
