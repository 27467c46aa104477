package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"

	"symkeep/internal/catalog"
)

// suspectLine is what memberlist v0.6.0 says after its own probe of a node and
// the fallbacks failed (state.go, probeNode). Its interface does not tell a
// suspect from a live node, this line does. If it changed, a suspect would show
// as alive until it is dead; TestSuspect would fail.
var suspectLine = regexp.MustCompile(`Suspect ([0-9a-f-]{36}) has failed, no acks received`)

// linePrefix is what memberlist puts before every line.
var linePrefix = regexp.MustCompile(`^\[[A-Z]+\] memberlist: `)

// logWriter turns memberlist's lines into records: its warnings and errors become
// warnings, for it recovers from all of them; the rest is for debugging.
type logWriter struct {
	log   *slog.Logger
	table *table
}

// Write takes one line.
func (w *logWriter) Write(p []byte) (int, error) {
	line := bytes.TrimSpace(p)
	if m := suspectLine.FindSubmatch(line); m != nil {
		w.table.suspect(catalog.NodeID(m[1]))
	}
	level := slog.LevelDebug
	if bytes.HasPrefix(line, []byte("[ERR]")) || bytes.HasPrefix(line, []byte("[WARN]")) {
		level = slog.LevelWarn
	}
	if ctx := context.Background(); w.log.Enabled(ctx, level) {
		w.log.Log(ctx, level, "memberlist", "err", string(linePrefix.ReplaceAll(line, nil)))
	}
	return len(p), nil
}
