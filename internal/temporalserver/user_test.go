package temporalserver

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAUserThatIsOnlyANumberGetsANameAndAHome(t *testing.T) {
	t.Parallel()
	unset := func(string) string { return "" }
	require.Equal(t, map[string]string{"USER": "uid-4294967", "HOME": os.TempDir()}, lacking("4294967", unset))
	require.Empty(t, lacking("4294967", func(string) string { return "given" }))
	require.Empty(t, lacking("0", unset), "root is in /etc/passwd")
	require.NoError(t, nameUser(), strconv.Itoa(os.Getuid()))
}
