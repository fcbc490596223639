package demo

import (
	"encoding/binary"
	"slices"
	"strings"
)

// SyncFault is a way in which a SyncBackend goes wrong.
type SyncFault int

// The faults.
const (
	// SyncFaultNone: all is right.
	SyncFaultNone SyncFault = iota
	// SyncFaultRefuse: handshakes are answered with status 503. Open connections stay.
	SyncFaultRefuse
	// SyncFaultMute: handshakes succeed and nothing is answered, not even a ping.
	SyncFaultMute
	// SyncFaultFailing: each pull and push fails with an UnknownError.
	SyncFaultFailing
	// SyncFaultDefect: each pull and push is answered with a Defect.
	SyncFaultDefect

	// SyncFaultHalfFrame: half of a frame comes, and nothing after it. It and the following faults concern chunks.
	SyncFaultHalfFrame
	// SyncFaultHugeFrame: a chunk of over 2 MiB.
	SyncFaultHugeFrame
	// SyncFaultBrokenJSON: a complete frame with half of a chunk in it.
	SyncFaultBrokenJSON
	// SyncFaultUnknownTag: a frame of a kind that does not exist comes before each chunk.
	SyncFaultUnknownTag
	// SyncFaultOutOfOrder: the events of a chunk are in the reverse order.
	SyncFaultOutOfOrder
	// SyncFaultGap: the first event of a chunk is missing; a chunk of one event does not come at all.
	SyncFaultGap
	// SyncFaultDuplicate: each chunk comes twice.
	SyncFaultDuplicate
)

// SetFault makes the backend faulty until the next call; SyncFaultNone makes it right again.
func (b *SyncBackend) SetFault(f SyncFault) { b.fault.Store(int64(f)) }

func (b *SyncBackend) currentFault() SyncFault { return SyncFault(b.fault.Load()) }

// sendChunk sends the chunk, or what the fault makes of it.
func (c *syncConn) sendChunk(requestID string, k syncChunk) {
	fault := c.backend.currentFault()
	switch fault {
	case SyncFaultOutOfOrder:
		k.batch = slices.Clone(k.batch)
		slices.Reverse(k.batch)
	case SyncFaultGap:
		if len(k.batch) == 1 {
			return
		}
		k.batch = k.batch[min(1, len(k.batch)):]
	case SyncFaultHugeFrame:
		k.batch = append(slices.Clone(k.batch), []byte(`{"padding":"`+strings.Repeat("x", 2<<20)+`"}`))
	default: // the other faults concern the frame
	}
	text := k.encode(requestID)
	switch fault {
	case SyncFaultUnknownTag:
		c.send([]byte(`{"_tag":"Novelty"}`))
	case SyncFaultDuplicate:
		c.send(text)
	case SyncFaultBrokenJSON:
		text = text[:len(text)/2]
	case SyncFaultHalfFrame:
		c.sendHalf(text)
		return
	default: // the other faults concern the chunk
	}
	c.send(text)
}

// sendHalf writes a frame's header and half of what it announces. After that the connection sends nothing more.
func (c *syncConn) sendHalf(text []byte) {
	const finalText, eightBytes = 0x81, 127 // RFC 6455: the last frame of a text; its length follows in 8 bytes
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = true
	frame := binary.BigEndian.AppendUint64([]byte{finalText, eightBytes}, uint64(len(text)))
	if _, err := c.raw.Write(append(frame, text[:len(text)/2]...)); err != nil {
		c.drop()
	}
}
