package agent

import (
	"encoding/json"
	"io"
	"sync"
	"time"
)

// jsonEvery bounds how often progress makes a JSON line.
const jsonEvery = time.Second

// JSONLines writes every event as one JSON object per line. Progress is thinned
// out; what is left of it is for display.
type JSONLines struct {
	now func() time.Time

	mu   sync.Mutex
	w    io.Writer
	last time.Time
}

// NewJSONLines returns a Reporter for programs. It owns w while it is in use.
func NewJSONLines(w io.Writer, now func() time.Time) *JSONLines {
	return &JSONLines{w: w, now: now}
}

// Report implements Reporter.
func (j *JSONLines) Report(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if isProgress(e) {
		now := j.now()
		if now.Sub(j.last) < jsonEvery {
			return
		}
		j.last = now
	}
	WriteJSON(j.w, e)
}

// WriteJSON writes v as one line of JSON.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
