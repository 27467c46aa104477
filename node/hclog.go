package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftLogger hands raft's own log lines to slog. The library recovers from every
// failure of the network, so those are warnings, and a connection closed at a stop
// is none at all; what raft only tells is for debugging.
type raftLogger struct {
	log  *slog.Logger
	name string
	args []any
	said *repeats
}

func newRaftLogger(log *slog.Logger) hclog.Logger { return &raftLogger{log: log, said: &repeats{}} }

// repeats keeps raft from saying the same several times a second, for hours: what
// goes on is said once a minute, with the number of times.
type repeats struct {
	mu    sync.Mutex
	lines map[string]*repeated
}

type repeated struct {
	since time.Time // it was said
	times int       // it came again
}

const (
	repeatEvery = time.Minute
	maxRepeats  = 256 // causes that are told apart; others are all said
)

// due reports whether a line is to be said now, and how often it was left out.
func (r *repeats) due(cause string, now time.Time) (say bool, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines[cause]
	if l != nil && now.Sub(l.since) < repeatEvery {
		l.times++
		return false, 0
	}
	if l != nil {
		left = l.times
	}
	if len(r.lines) >= maxRepeats {
		maps.DeleteFunc(r.lines, func(_ string, l *repeated) bool { return now.Sub(l.since) >= repeatEvery })
	}
	if r.lines == nil {
		r.lines = map[string]*repeated{}
	}
	if len(r.lines) < maxRepeats {
		r.lines[cause] = &repeated{since: now}
	}
	return true, left
}

// causeOf names what a line is about: the message and the peer, without the terms,
// indexes and ports in which one differs from the next.
func causeOf(msg string, args []any) string {
	for i := 0; i+1 < len(args); i += 2 {
		switch k := args[i]; k {
		case "peer", "from", "address", "id":
			msg += fmt.Sprintf(" %v", args[i+1])
		}
	}
	return msg
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	all := append([]any{"raft", msg}, append(slices.Clip(l.args), args...)...)
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		to = slog.LevelError
	case level == hclog.Warn:
		to = slog.LevelWarn
	}
	for i, v := range all {
		if i%2 == 0 {
			if v == "error" {
				all[i] = "err"
			}
			continue
		}
		switch v := v.(type) {
		case error:
			to = min(to, levelOf(v))
		case hclog.Format:
			all[i] = fmt.Sprintf(fmt.Sprint(v[0]), v[1:]...)
		case fmt.Stringer:
			all[i] = v.String()
		}
	}
	if to >= slog.LevelWarn {
		say, left := l.said.due(causeOf(msg, args), time.Now())
		if !say {
			to = slog.LevelDebug
		} else if left > 0 {
			all = append(all, "times", left)
		}
	}
	l.log.Log(context.Background(), to, "raft library", all...)
}

// levelOf is the highest level that an error deserves.
func levelOf(err error) slog.Level {
	var network net.Error
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, raft.ErrTransportShutdown):
		return slog.LevelDebug
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return slog.LevelWarn
	}
	return slog.LevelError
}

func (l *raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLogger) IsTrace() bool { return false }
func (l *raftLogger) IsDebug() bool { return l.log.Enabled(context.Background(), slog.LevelDebug) }
func (l *raftLogger) IsInfo() bool  { return l.IsDebug() }
func (l *raftLogger) IsWarn() bool  { return true }
func (l *raftLogger) IsError() bool { return true }

func (l *raftLogger) ImpliedArgs() []any { return l.args }

func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l.log, l.name, append(append([]any(nil), l.args...), args...), l.said}
}

func (l *raftLogger) Name() string { return l.name }

func (l *raftLogger) Named(name string) hclog.Logger { return &raftLogger{l.log, name, l.args, l.said} }

func (l *raftLogger) ResetNamed(name string) hclog.Logger { return l.Named(name) }

func (l *raftLogger) SetLevel(hclog.Level) {}

func (l *raftLogger) GetLevel() hclog.Level {
	if l.IsDebug() {
		return hclog.Debug
	}
	return hclog.Warn
}

func (l *raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelWarn)
}

func (l *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(nil).Writer()
}
