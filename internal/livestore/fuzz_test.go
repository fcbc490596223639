package livestore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzFrame: no frame makes the decoder panic, and what it lets through is in order.
func FuzzFrame(f *testing.F) {
	for _, text := range []string{
		`{"_tag":"Pong"}`,
		`{"_tag":"Chunk","requestId":"0","values":[{"batch":[],"pageInfo":{"_tag":"NoMore"},"backendId":"B"}]}`,
		`{"_tag":"Chunk","requestId":"0","values":[{"batch":[{"eventEncoded":{"name":"v1.X","args":{"a":[1,null]},"seqNum":3,` +
			`"parentSeqNum":2,"clientId":"c","sessionId":"s"},"metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata",` +
			`"createdAt":"2026-11-23T19:04:28.281Z"}}}],"pageInfo":{"_tag":"MoreKnown","remaining":250},"backendId":"B"}]}`,
		`{"_tag":"Exit","requestId":"1","exit":{"_tag":"Success","value":{}}}`,
		`{"_tag":"Exit","requestId":"2","exit":{"_tag":"Failure","cause":{"_tag":"Fail","error":{"cause":{"minimumExpectedNum":2,` +
			`"providedNum":1,"_tag":"ServerAheadError"},"_tag":"InvalidPushError"}}}}`,
		`{"_tag":"Exit","requestId":"6","exit":{"_tag":"Failure","cause":{"_tag":"Sequential","left":{"_tag":"Empty"},` +
			`"right":{"_tag":"Die","defect":{"message":"m"}}}}}`,
		`{"_tag":"Defect","defect":{"cause":{"cause":"deep"}}}`,
		`{"_tag":"Chu`,
		`null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		decoded, err := decodeFrame(text)
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return
		}
		if _, err := decoded.outcome(secret(`{"serverBypass":"token"}`)); err != nil {
			require.NotContains(t, err.Error(), "\n")
		}
		_ = explain(decoded.Defect, 0)
		pages, err := decoded.pages()
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return
		}
		seq := sequence{due: true}
		head := int64(0)
		for _, page := range pages {
			wanted, err := seq.check(&page)
			if err != nil {
				return
			}
			if !wanted {
				continue
			}
			for _, e := range page.Events {
				require.Equal(t, head, e.Parent)
				require.Greater(t, e.Seq, head)
				head = e.Seq
			}
		}
	})
}
