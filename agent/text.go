package agent

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// maxPairLines bounds the lines about pairs, which a large build has thousands of.
const maxPairLines = 20

// A narrator turns events into lines for people.
type narrator struct {
	pairs int
	retry map[string]string // server -> the last reason told
}

// line returns one line without its end, or nothing where there is nothing to say.
func (n *narrator) line(e Event) string {
	switch e.Event {
	case EventSkipped:
		return fmt.Sprintf("skipped %s: %s", e.Path, e.Message)
	case EventUnpacked:
		return fmt.Sprintf("unpacked %s: %s, %s; %d ignored", e.Path, plural(e.Files, "file"), Size(e.Bytes), e.Ignored)
	case EventScanned:
		return fmt.Sprintf("scanned %s, %s; %d ignored", plural(e.Files, "file"), Size(e.Bytes), e.Ignored)
	case EventPaired, EventHalfMissing:
		return n.pairLine(e)
	case EventSources:
		if e.Ignored == 0 {
			return fmt.Sprintf("sources: %s, %s", plural(e.Files, "file"), Size(e.Bytes))
		}
		return fmt.Sprintf("sources: %s, %s; without %s", plural(e.Files, "file"), Size(e.Bytes), e.Message)
	case EventOpened:
		return fmt.Sprintf("opened package %s at %s", e.Package, e.Server)
	case EventLacking:
		if e.Blobs == 0 {
			return "nothing to upload: the cluster has every file already"
		}
		return fmt.Sprintf("uploading %d of %s, %s", e.Blobs, plural(e.Files, "file"), Size(e.Bytes))
	case EventSentRaw:
		return fmt.Sprintf("sending %s unpacked: %s", e.Path, e.Message)
	case EventUploaded:
		return fmt.Sprintf("uploaded %s, %s", e.Path, Size(e.FileSize))
	case EventRetry:
		if n.retry[e.Server] != e.Message {
			if n.retry == nil {
				n.retry = map[string]string{}
			}
			n.retry[e.Server] = e.Message
			return "trying again: " + e.Message
		}
	case EventCommitted:
		return fmt.Sprintf("committed package %s", e.Package)
	case EventValidating:
		return fmt.Sprintf("validating: %d of %s", e.Checked, plural(e.Files, "file"))
	case EventVerdict:
		if len(e.Nodes) > 0 {
			return "not confirmed by " + strings.Join(e.Nodes, ", ") + ", which can no longer answer a miss by itself"
		}
	}
	return ""
}

func (n *narrator) pairLine(e Event) string {
	n.pairs++
	switch {
	case n.pairs > maxPairLines+1:
		return ""
	case n.pairs > maxPairLines:
		return "further pairs are not listed"
	case e.Event == EventPaired:
		return fmt.Sprintf("pair: %s + %s", e.Path, e.Other)
	}
	return fmt.Sprintf("note: %s refers to %s: %s", e.Path, e.Other, e.Message)
}

// isProgress reports whether e only moves a bar.
func isProgress(e Event) bool {
	return e.Event == EventScanning || e.Event == EventPacking || e.Event == EventUploading
}

// lineEvery is how often progress makes a line in a log.
const lineEvery = 30 * time.Second

// Lines writes one line per state change, and one for long progress now and then.
type Lines struct {
	now func() time.Time

	mu   sync.Mutex
	w    io.Writer
	n    narrator
	last time.Time
}

// NewLines returns a Reporter for logs. It owns w while it is in use.
func NewLines(w io.Writer, now func() time.Time) *Lines {
	return &Lines{w: w, now: now, last: now()}
}

// Report implements Reporter.
func (l *Lines) Report(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.n.line(e)
	if now := l.now(); isProgress(e) && now.Sub(l.last) >= lineEvery {
		text = fmt.Sprintf("%s: %s of %s", phaseOf(e), Size(e.Done), Size(e.Total))
		l.last = now
	}
	if text != "" {
		fmt.Fprintln(l.w, Clean(text))
	}
}

// Clean keeps text from commanding a terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= 0x20 && r != 0x7f && (r < 0x80 || r > 0x9f) {
			return r
		}
		return '?'
	}, s)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func countSeverities(counts map[catalog.Severity]int, findings []catalog.Finding) {
	for _, f := range findings {
		counts[f.Severity]++
	}
}
