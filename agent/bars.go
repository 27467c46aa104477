package agent

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	redrawEvery = 100 * time.Millisecond
	barWidth    = 24
	maxBars     = 8 // files shown at once
)

// Bars draws progress bars on a terminal: one for the whole and one per file at
// work. Lines about state changes scroll above them. It redraws at most ten times
// a second and starts no goroutine.
type Bars struct {
	width func() int // columns
	now   func() time.Time

	mu     sync.Mutex
	w      io.Writer
	n      narrator
	phase  EventKind
	begun  time.Time // of the phase
	drawn  time.Time
	lines  int // on screen now
	files  []bar
	done   int64
	total  int64
	closed bool
}

// A bar is one file at work.
type bar struct {
	path       string
	done, size int64
}

// NewBars returns a Reporter for a terminal of width() columns. Close it before
// anything else writes to w.
func NewBars(w io.Writer, width func() int, now func() time.Time) *Bars {
	return &Bars{w: w, width: width, now: now}
}

// Report implements Reporter.
func (b *Bars) Report(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if isProgress(e) {
		b.move(e)
		if now := b.now(); now.Sub(b.drawn) >= redrawEvery {
			b.drawn = now
			b.draw("")
		}
		return
	}
	switch e.Event {
	case EventUploaded:
		b.remove(e.Path)
	case EventScanned, EventCommitted:
		b.phase, b.files = "", nil
	}
	if text := b.n.line(e); text != "" {
		b.draw(Clean(text) + "\n")
	}
}

// Close removes the bars.
func (b *Bars) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.phase, b.files, b.closed = "", nil, true
	b.draw("")
}

func (b *Bars) move(e Event) {
	if phase := phaseOf(e); b.phase != phase {
		b.phase, b.begun, b.files, b.done = phase, b.now(), nil, 0
	}
	b.done, b.total = max(b.done, e.Done), e.Total
	if e.Event == EventScanning && e.FileDone >= e.FileSize {
		b.remove(e.Path)
		return
	}
	for i := range b.files {
		if b.files[i].path == e.Path {
			b.files[i].done = e.FileDone
			return
		}
	}
	b.files = append(b.files, bar{e.Path, e.FileDone, e.FileSize})
}

// phaseOf returns the phase that progress belongs to: some files are packed while
// others are sent.
func phaseOf(e Event) EventKind {
	if e.Event == EventPacking {
		return EventUploading
	}
	return e.Event
}

func (b *Bars) remove(path string) {
	for i := range b.files {
		if b.files[i].path == path {
			b.files = append(b.files[:i], b.files[i+1:]...)
			return
		}
	}
}

// draw replaces what is on screen by above, which stays, and the current bars.
func (b *Bars) draw(above string) {
	var s strings.Builder
	if b.lines > 0 {
		fmt.Fprintf(&s, "\x1b[%dA\r\x1b[J", b.lines)
	}
	s.WriteString(above)
	b.lines = 0
	if b.phase != "" {
		b.put(&s, b.summary())
		for _, f := range b.files[:min(len(b.files), maxBars)] {
			b.put(&s, "  "+barText(f.done, f.size)+" "+Clean(f.path))
		}
	}
	io.WriteString(b.w, s.String())
}

func (b *Bars) put(s *strings.Builder, line string) {
	if r, w := []rune(line), max(b.width()-1, 20); len(r) > w {
		line = string(r[:w])
	}
	s.WriteString(line + "\n")
	b.lines++
}

func (b *Bars) summary() string {
	line := fmt.Sprintf("%s %s of %s", barText(b.done, b.total), Size(b.done), Size(b.total))
	if took := b.now().Sub(b.begun); took > time.Second && b.done > 0 {
		rate := float64(b.done) / took.Seconds()
		left := time.Duration(float64(b.total-b.done) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s/s, %s left", Size(int64(rate)), left.Round(time.Second))
	}
	return string(b.phase) + " " + line
}

func barText(done, total int64) string {
	full := 0
	percent := 100
	if total > 0 {
		full, percent = int(done*barWidth/total), int(done*100/total)
	}
	full = min(max(full, 0), barWidth)
	return fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent)
}
