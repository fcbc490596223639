package authclient_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/authclient"
)

// idsOf reads a listing to its end.
func idsOf(t *testing.T, l *authclient.Listing) []string {
	t.Helper()
	ids := []string{}
	for id, err := range l.All() {
		require.NoError(t, err)
		ids = append(ids, id)
	}
	return ids
}

// sorted returns the Listing, closed with the test.
func sorted(t *testing.T, c *authclient.Client) *authclient.Listing {
	t.Helper()
	l, err := c.Sorted(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// listText is the JSON of a list of these ids, each of another user, that claims to be complete.
func listText(ids ...string) string {
	var text strings.Builder
	for i, id := range ids {
		_, _ = fmt.Fprintf(&text, `%s{"instanceId":%q,"userId":"user-%d"}`, strings.Repeat(",", min(i, 1)), id, i)
	}
	return fmt.Sprintf(`{"workspaces":[%s],"metadata":{"totalUsers":%d,"totalWorkspaces":%d}}`, text.String(), len(ids), len(ids))
}

func TestASortedListHasEachWorkspaceOnceInOrder(t *testing.T) {
	t.Parallel()
	c := newClient(t, serveText(t, listText("bbb", "abc", "a-c", "bbb", "Zzz", "abcdefgh2", "abcdefgh1", "../x", "ab", "../x", "abcdefgh1", "a_c")), nil)
	require.Zero(t, c.Status().ListAt)
	before := time.Now()
	l := sorted(t, c)
	want := []string{"Zzz", "a-c", "a_c", "abc", "abcdefgh1", "abcdefgh2", "bbb"}
	require.Equal(t, want, idsOf(t, l))
	require.Equal(t, want, idsOf(t, l), "it can be read again")
	require.Equal(t, len(want), l.Distinct)
	require.Equal(t, 12, l.Entries)
	require.Equal(t, 3, l.InvalidEntries)
	require.Equal(t, 12, *l.ClaimedEntries)
	require.Equal(t, []string{"../x", "ab"}, l.Quarantined)
	require.Equal(t, 2, l.QuarantinedDistinct)
	require.WithinRange(t, l.FetchStartedAt, before, time.Now())
	require.True(t, l.FetchStartedAt.Equal(c.Status().ListAt))

	for _, err := range l.All() {
		require.NoError(t, err)
		require.NoError(t, l.Close(), "closed by another while it is read")
		break
	}
	require.NoError(t, l.Close())
	for id, err := range l.All() {
		require.Empty(t, id)
		require.ErrorIs(t, err, os.ErrClosed)
	}
}

func TestAnEmptyListIsSortedToo(t *testing.T) {
	t.Parallel()
	l := sorted(t, newClient(t, serveText(t, `{"workspaces":[]}`), nil))
	require.Empty(t, idsOf(t, l))
	require.Zero(t, l.Distinct)
}

func TestQuarantinedIDsAreFewShortAndPrintable(t *testing.T) {
	t.Parallel()
	ids := []string{"a\r\n\x1b[1m", strings.Repeat("ä", 5000), " ", strings.Repeat("x", 65)}
	for i := range 30_000 {
		ids = append(ids, fmt.Sprint("/", i/2))
	}
	l := sorted(t, newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.ReplaceAll(listText(ids...), `\x1b`, `\u001b`))
	}), nil))
	require.Len(t, l.Quarantined, 20)
	require.Equal(t, []string{"a\ufffd\ufffd\ufffd[1m", strings.Repeat("ä", 32), " ", strings.Repeat("x", 64)}, l.Quarantined[:4])
	for _, id := range l.Quarantined {
		require.LessOrEqual(t, len(id), 64)
		require.True(t, utf8.ValidString(id))
	}
	require.Equal(t, 10_000, l.QuarantinedDistinct, "which may be more")
	require.Equal(t, len(ids), l.InvalidEntries)
}

func TestProgressIsToldWhileAListComes(t *testing.T) {
	t.Parallel()
	ids := make([]string, 5000)
	for i := range ids {
		ids[i] = fmt.Sprint("id-", i)
	}
	var told []int
	l, err := newClient(t, serveText(t, listText(ids...)), nil).Sorted(t.Context(), func(entries int) { told = append(told, entries) })
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.Equal(t, []int{1000, 2000, 3000, 4000, 5000}, told)
}

// pagedServer answers with pages[cursor] and an ETag of each page; "" is the first.
func pagedServer(t *testing.T, pages map[string]string) (string, *[]url.Values) {
	t.Helper()
	var asked []url.Values
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query())
		if r.Header.Get("If-None-Match") != "" {
			t.Error("pages have no ETag in common")
		}
		w.Header().Set("ETag", `"page"`)
		_, _ = io.WriteString(w, pages[r.URL.Query().Get("cursor")])
	}), &asked
}

func TestAllPagesMakeOneList(t *testing.T) {
	t.Parallel()
	url, asked := pagedServer(t, map[string]string{
		"":        `{"workspaces":[{"instanceId":"bbb","userId":"a"}],"nextCursor":"a&b=c ü","metadata":{"totalWorkspaces":3}}`,
		"a&b=c ü": `{"nextCursor":"last","workspaces":[{"instanceId":"aaa","userId":"a"}],"hasMore":true}`,
		"last":    `{"workspaces":[{"instanceId":"bbb","userId":"b"}],"nextCursor":"","metadata":{"totalWorkspaces":3},"hasMore":false}`,
	})
	c := newClient(t, url, nil)
	for range 2 {
		l := sorted(t, c)
		require.Equal(t, []string{"aaa", "bbb"}, idsOf(t, l))
		require.Equal(t, 3, l.Entries)
		require.Equal(t, 3, *l.ClaimedEntries)
	}
	require.Equal(t, "a&b=c ü", (*asked)[1].Get("cursor"))
	require.Empty(t, (*asked)[0], "the first request is as ever")

	var ids []string
	_, err := c.List(t.Context(), func(w authclient.Workspace) error { ids = append(ids, w.InstanceID); return nil })
	require.NoError(t, err)
	require.Equal(t, []string{"bbb", "aaa", "bbb"}, ids)
}

func TestPagesMaySayHowManyTheyAreWhereverTheySayIt(t *testing.T) {
	t.Parallel()
	for name, pages := range map[string][2]string{
		"before the cursor": {
			`{"metadata":{"totalWorkspaces":2,"totalPages":2,"page":1},"hasMore":true,"workspaces":[{"instanceId":"abc"}],"nextCursor":"2"}`,
			`{"metadata":{"totalWorkspaces":2,"totalPages":2,"page":2},"hasMore":false,"workspaces":[{"instanceId":"abd"}],"nextCursor":null}`,
		},
		"behind it": {
			`{"nextCursor":"2","workspaces":[{"instanceId":"abc"}],"pages":2,"hasMore":null,"metadata":{"totalWorkspaces":2}}`,
			`{"workspaces":[{"instanceId":"abd"}],"pages":2,"hasMore":null}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := pagedServer(t, map[string]string{"": pages[0], "2": pages[1]})
			require.Equal(t, []string{"abc", "abd"}, idsOf(t, sorted(t, newClient(t, url, nil))))
		})
	}
}

func TestPagesThatAreDamagedDamageTheList(t *testing.T) {
	t.Parallel()
	const (
		first   = `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2"}`
		second  = `{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":2}}`
		claimed = `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2","metadata":{"totalWorkspaces":2}}`
	)
	for _, c := range []struct{ name, first, second, says string }{
		{"the second is cut off", first, `{"workspaces":[{"instanceId":"abd"}`, "cut off"},
		{"the second is no list", first, `{"error":null}`, "workspaces is missing"},
		{"the second is HTML", first, `<html>`, "text/html"},
		{"an entry of the second has no id", first, `{"workspaces":[{}]}`, "entry 2 has no id"},
		{"an entry has two ids", `{"workspaces":[{"instanceId":"abc","instanceId":"abd"}]}`, ``, "entry 1 can't be read: a name comes twice"},
		{"fewer entries than claimed", first, `{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":3}}`, "it has 2 entries and says that it has 3"},
		{"more entries than claimed", first, `{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":1}}`, "it has 2 entries and says that it has 1"},
		{"the number changes between them", claimed, `{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":3}}`, "its pages say that it has 2 entries, and 3"},
		{"the users change between them", `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2","metadata":{"totalUsers":0,"totalWorkspaces":2}}`, second, "its pages say"},
		{"no page says how many there are", first, `{"workspaces":[{"instanceId":"abd"}]}`, "does not say how many entries"},
		{"a row of the first comes again in the second", claimed, `{"workspaces":[{"instanceId":"abc"}]}`, "1 of its 2 entries come twice"},
		{"a page without entries before another", `{"workspaces":[],"nextCursor":"2"}`, second, "a page without entries"},
		{"a page that is said to be the last and is not", `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2","hasMore":false}`, second, "nextCursor"},
		{"fewer pages than they say", claimed, `{"workspaces":[{"instanceId":"abd"}],"totalPages":3}`, "it has 2 pages and says that it has 3"},
		{"more pages than they say", claimed, `{"workspaces":[{"instanceId":"abd"}],"totalPages":1}`, "it has 2 pages and says that it has 1"},
		{
			"pages that disagree about how many they are", `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2","totalPages":3}`,
			`{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":2,"totalPages":2}}`, "its pages say that it has 3 pages, and 2",
		},
		{"a cursor that comes twice", first, first, "cursor"},
		{"a cursor that is a number", `{"workspaces":[],"nextCursor":2}`, ``, "nextCursor"},
		{"two cursors", `{"workspaces":[],"nextCursor":"2","nextCursor":""}`, ``, "comes twice"},
		{"an endless cursor", `{"workspaces":[],"nextCursor":"` + strings.Repeat("c", 3000) + `"}`, ``, "nextCursor is too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, _ := pagedServer(t, map[string]string{"": c.first, "2": c.second})
			client := newClient(t, url, nil)
			_, err := client.Sorted(t.Context(), nil)
			require.ErrorIs(t, err, authclient.ErrDamaged)
			require.ErrorContains(t, err, c.says)
			require.Zero(t, client.Status().ListAt)
		})
	}
}

func TestPagesWithoutAnEndAreDamage(t *testing.T) {
	t.Parallel()
	n := 0
	endless := roundTrip(func(*http.Request) (*http.Response, error) {
		n++
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(fmt.Sprintf(`{"workspaces":[{"instanceId":"id-%d"}],"nextCursor":"%d"}`, n, n)))}, nil
	})
	c := newClient(t, "http://auth.example.com", func(o *authclient.Options) { o.HTTPClient = &http.Client{Transport: endless} })
	_, err := c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrDamaged)
	require.Equal(t, 20_000, n)
}

func TestAPageThatFailsOrStandsStillFailsTheList(t *testing.T) {
	t.Parallel()
	secondPage := func(h http.HandlerFunc) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("cursor") == "" {
				_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2"}`)
				return
			}
			h(w, r)
		})
	}
	_, err := newClient(t, secondPage(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }), nil).Sorted(t.Context(), nil)
	var status *authclient.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, http.StatusBadGateway, status.Code)

	still := secondPage(stall(`{"workspaces":[`))
	_, err = newClient(t, still, func(o *authclient.Options) { o.IdleTimeout = 50 * time.Millisecond }).Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrTimeout)
	_, err = newClient(t, still, func(o *authclient.Options) { o.ListTimeout = 50 * time.Millisecond }).Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = newClient(t, still, nil).Sorted(ctx, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestARefusalBetweenPagesIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, retryAfter string
		refusals         int
		takes            time.Duration
		refused          bool
	}{
		{"as long as it says", "7", 2, 14 * time.Second, false},
		{"for a while when it does not say", "", 1, 15 * time.Second, false},
		{"but for no more than a minute", "36000", 2, 2 * time.Minute, false},
		{"not too often", "7", 100, 21 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refusals := c.refusals
			answer := func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Query().Get("cursor") == "":
					_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2"}`)
				case refusals > 0:
					refusals--
					w.Header().Set("Retry-After", c.retryAfter)
					w.WriteHeader(http.StatusTooManyRequests)
				default:
					_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":2}}`)
				}
			}
			paced(t, answer, func(t *testing.T, client *authclient.Client, _ func() []time.Duration) {
				start, last := time.Now(), time.Now()
				l, err := client.Sorted(t.Context(), func(entries int) {
					require.Equal(t, 1, entries)
					require.LessOrEqual(t, time.Since(last), 5*time.Second)
					last = time.Now()
				})
				require.Equal(t, c.takes, time.Since(start))
				if c.refused {
					var status *authclient.StatusError
					require.ErrorAs(t, err, &status)
					return
				}
				require.NoError(t, err)
				require.Equal(t, []string{"abc", "abd"}, idsOf(t, l))
				require.NoError(t, l.Close())
				require.Equal(t, start, l.FetchStartedAt)
			})
		})
	}
}

// tagged answers with the text and the ETag, or with a 304 to those who have it.
type tagged struct {
	text, etag atomic.Value
	full, none atomic.Int32
}

func (s *tagged) set(etag, text string) { s.etag.Store(etag); s.text.Store(text) }

func (s *tagged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	etag, _ := s.etag.Load().(string)
	if etag != "" {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			s.none.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	s.full.Add(1)
	_, _ = io.WriteString(w, s.text.Load().(string))
}

func TestAListThatHasNotChangedIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	for _, etag := range []string{`"v1"`, `W/"v1"`} {
		t.Run(etag, func(t *testing.T) {
			t.Parallel()
			s := &tagged{}
			s.set(etag, listText("bbb", "aaa", "bbb", "../x"))
			c := newClient(t, serve(t, s.ServeHTTP), nil)
			first := sorted(t, c)
			require.NoError(t, first.Close(), "what is kept does not depend on it")
			second := sorted(t, c)
			require.Equal(t, []string{"aaa", "bbb"}, idsOf(t, second))
			require.Equal(t, first.Entries, second.Entries)
			require.Equal(t, first.ClaimedEntries, second.ClaimedEntries)
			require.Equal(t, first.Quarantined, second.Quarantined)
			require.Equal(t, 1, second.InvalidEntries)
			require.Equal(t, 1, second.QuarantinedDistinct)
			require.True(t, second.FetchStartedAt.After(first.FetchStartedAt))
			require.True(t, second.FetchStartedAt.Equal(c.Status().ListAt))
			require.Equal(t, []int32{1, 1}, []int32{s.full.Load(), s.none.Load()})

			s.set(`"v2"`, listText("ccc"))
			third := sorted(t, c)
			require.Equal(t, []string{"ccc"}, idsOf(t, third))
			require.Equal(t, []string{"aaa", "bbb"}, idsOf(t, second), "an older listing stays as it was")

			_, err := c.Absent(t.Context(), "ccc")
			require.NoError(t, err)
			require.Equal(t, int32(3), s.full.Load(), "a re-check is answered by a list")

			s.set("", listText("ddd"))
			require.Equal(t, []string{"ddd"}, idsOf(t, sorted(t, c)))
			s.set(`"v2"`, listText("eee"))
			require.Equal(t, []string{"eee"}, idsOf(t, sorted(t, c)), "without an ETag nothing was kept")
		})
	}
}

func TestAListIsFetchedOnceAnHourEvenIfNothingIsSaidToHaveChanged(t *testing.T) {
	t.Parallel()
	s := &tagged{}
	s.set(`"v1"`, listText("aaa"))
	var now atomic.Int64 // in minutes
	c := newClient(t, serve(t, s.ServeHTTP), func(o *authclient.Options) {
		o.Now = func() time.Time { return time.Unix(now.Load()*60, 0) }
	})
	sorted(t, c)
	now.Add(59)
	sorted(t, c)
	require.Equal(t, []int32{1, 1}, []int32{s.full.Load(), s.none.Load()})
	now.Add(1)
	sorted(t, c)
	require.Equal(t, []int32{2, 1}, []int32{s.full.Load(), s.none.Load()})
	now.Add(59)
	sorted(t, c)
	require.Equal(t, []int32{2, 2}, []int32{s.full.Load(), s.none.Load()})
}

func TestDamageIsNeverKept(t *testing.T) {
	t.Parallel()
	s := &tagged{}
	s.set(`"v1"`, `{"workspaces":[{"instanceId":"abc"}`)
	c := newClient(t, serve(t, s.ServeHTTP), nil)
	_, err := c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrDamaged)
	s.set(`"v1"`, listText("abc", "abd"))
	require.Len(t, idsOf(t, sorted(t, c)), 2)
	s.set(`"v2"`, `{"workspaces":[],"metadata":{"totalWorkspaces":2}}`)
	_, err = c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrDamaged)
	s.set(`"v1"`, listText("abc"))
	require.Len(t, idsOf(t, sorted(t, c)), 1, "after damage a list is asked for in any case")
}

func TestAnAnswerThatClaimsNoChangeWithoutReasonIsAnError(t *testing.T) {
	t.Parallel()
	unasked := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }), nil)
	for name, call := range map[string]func() error{
		"sorted": func() error { _, err := unasked.Sorted(t.Context(), nil); return err },
		"list":   func() error { _, err := unasked.List(t.Context(), ignore); return err },
		"absent": func() error { _, err := unasked.Absent(t.Context(), "abc"); return err },
	} {
		var status *authclient.StatusError
		require.ErrorAs(t, call(), &status, name)
		require.Equal(t, http.StatusNotModified, status.Code)
	}

	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("ETag", `"another"`)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, listText("abc"))
	}), nil)
	sorted(t, c)
	_, err := c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrDamaged)
	require.Len(t, idsOf(t, sorted(t, c)), 1, "the next list is asked for in any case")
}

func TestETagsThatAreNoneAreNotSentBack(t *testing.T) {
	t.Parallel()
	for _, etag := range []string{`v1`, `""`, `"v1`, `"a","b"`, `W/v1`, `"` + strings.Repeat("x", 2000) + `"`} {
		t.Run(etag[:min(len(etag), 8)], func(t *testing.T) {
			t.Parallel()
			c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("If-None-Match") != "" {
					t.Error("it was sent back")
				}
				w.Header().Set("ETag", etag)
				_, _ = io.WriteString(w, listText("abc"))
			}), nil)
			sorted(t, c)
			sorted(t, c)
		})
	}
}

func TestParallelSortedListsShareWhatIsKept(t *testing.T) {
	t.Parallel()
	s := &tagged{}
	s.set(`"v0"`, listText("id-0"))
	c := newClient(t, serve(t, s.ServeHTTP), nil)
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 20 {
				v := rand.IntN(3)
				s.set(fmt.Sprintf(`"v%d"`, v), listText("id-0"))
				l, err := c.Sorted(t.Context(), nil)
				if err != nil {
					return err
				}
				for id, err := range l.All() {
					if err != nil || id != "id-0" {
						return fmt.Errorf("%q %w", id, err)
					}
				}
				if err := l.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}

func TestACompressedListIsSortedAndItsDamageSeen(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, listText("bbb", "aaa"))
	require.NoError(t, z.Close())
	wrong := slices.Clone(packed.Bytes())
	wrong[len(wrong)-6] ^= 1 // in the checksum
	for _, body := range [][]byte{packed.Bytes(), wrong} {
		l, err := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(body)
		}), nil).Sorted(t.Context(), nil)
		if &body[0] == &wrong[0] {
			require.ErrorIs(t, err, authclient.ErrDamaged)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []string{"aaa", "bbb"}, idsOf(t, l))
		require.NoError(t, l.Close())
	}
}

func TestTheHashOfAListSaysWhichIDsItHasInWhateverOrder(t *testing.T) {
	t.Parallel()
	hash := func(ids ...string) string {
		c := newClient(t, serveText(t, listText(ids...)), nil)
		summary, err := c.List(t.Context(), ignore)
		require.NoError(t, err)
		require.Equal(t, summary.Hash, sorted(t, c).Hash)
		absent, err := c.Absent(t.Context(), "another")
		require.NoError(t, err)
		require.Equal(t, summary.Hash, absent.ListHash)
		return summary.Hash
	}
	// printf abc | sha256sum
	require.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", hash("abc"))
	require.Equal(t, strings.Repeat("0", 64), hash())
	all := hash("abc", "bbb", "a-c")
	require.Equal(t, all, hash("a-c", "abc", "bbb"))
	require.NotEqual(t, all, hash("abc", "bbb"))
	require.NotEqual(t, all, hash("abc", "bbb", "a-d"))
	require.NotEqual(t, all, hash("abc", "bbb", "a-c", "a-c"), "of another user")
}
