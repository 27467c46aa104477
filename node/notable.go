package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// Timings of telling the cluster.
const (
	alarmEvery = time.Second
	alarmLimit = 5 * time.Second // for one alarm
)

// notables are what is wrong with this node at the moment.
type notables struct {
	mu  sync.Mutex
	now map[catalog.AlarmCode]catalog.Alarm
}

// set notes that something is wrong, or with an empty text that it is not. It
// reports whether that is news.
func (s *notables) set(node catalog.NodeID, code catalog.AlarmCode, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, stood := s.now[code]
	if text == "" {
		delete(s.now, code)
		return stood
	}
	if stood && old.Text == text {
		return false
	}
	if s.now == nil {
		s.now = map[catalog.AlarmCode]catalog.Alarm{}
	}
	s.now[code] = catalog.Alarm{Node: node, Code: code, Text: text, At: fault.Now().UTC()}
	return true
}

// localAlarms returns what is wrong with this node at the moment, by code.
func (n *Node) localAlarms() []catalog.Alarm {
	n.notable.mu.Lock()
	defer n.notable.mu.Unlock()
	var as []catalog.Alarm
	for _, a := range n.notable.now {
		as = append(as, a)
	}
	slices.SortFunc(as, func(a, b catalog.Alarm) int {
		if a.Code < b.Code {
			return -1
		}
		return 1
	})
	return as
}

// notice is how every part of the node says that something is wrong with it, or,
// with an empty text, that it is well again. The cluster is told by runAlarms.
func (n *Node) notice(code catalog.AlarmCode, text string) {
	if !n.notable.set(n.id.Node, code, text) {
		return
	}
	if text == "" {
		n.log.Info("alarm over", "node", n.name, "alarm", string(code))
	} else {
		n.log.Error("alarm", "node", n.name, "alarm", string(code), "err", text)
	}
}

// passing are the codes of alarms that end by themselves.
var passing = []catalog.AlarmCode{catalog.AlarmDiskSlow, catalog.AlarmDiskFull, catalog.AlarmDiskHung}

// runAlarms keeps the alarms that the cluster knows of this node in line with what
// is wrong with it. Those of an earlier process that are over end, too.
func (n *Node) runAlarms(ctx context.Context) error {
	if _, err := n.awaitConsensus(ctx); err != nil {
		return nil
	}
	for n.confirmApplied(ctx) != nil { // what stands is not known before
		if !pause(ctx, alarmEvery) {
			return nil
		}
	}
	n.tellLast(ctx)
	told := map[catalog.AlarmCode]string{}
	for _, code := range passing {
		told[code] = "unknown: of an earlier process"
	}
	rests := restTable{}
	for pause(ctx, alarmEvery) {
		now := map[catalog.AlarmCode]string{}
		for _, a := range n.localAlarms() {
			now[a.Code] = a.Text
		}
		for code, text := range now {
			rests.stands(code, time.Now())
			if told[code] != text && n.tell(ctx, code, text) == nil {
				told[code] = text
			}
		}
		for code := range told {
			if now[code] == "" && slices.Contains(passing, code) && rests.over(code, time.Now()) && n.tell(ctx, code, "") == nil {
				delete(told, code)
			}
		}
	}
	return nil
}

// lastAlarm is the file in which a process that ends itself leaves an alarm for the
// next one to tell: its code and text.
const lastAlarm = "last-alarm"

// failWith ends the node with an alarm that stands until somebody clears it.
func (n *Node) failWith(code catalog.AlarmCode, err error) {
	n.notice(code, err.Error())
	if werr := writeFile(n.cfg.DataDir, lastAlarm, string(code)+" "+alarmText(err.Error())); werr != nil {
		n.log.Warn("alarm not left for the next start", "node", n.name, "alarm", string(code), "err", werr)
	}
	n.fail(err)
}

// tellLast raises the alarm that the last process left.
func (n *Node) tellLast(ctx context.Context) {
	path := filepath.Join(n.cfg.DataDir, lastAlarm)
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	code, text, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	for text != "" {
		err := n.tell(ctx, catalog.AlarmCode(code), alarmText(text))
		if err == nil || errors.Is(err, catalog.ErrInvalid) { // a damaged file must not keep the other alarms
			break
		}
		if !pause(ctx, alarmEvery) {
			return
		}
	}
	if err := os.Remove(path); err != nil {
		n.log.Warn("alarm of the last process not removed", "path", path, "err", err)
	}
}

func (n *Node) tell(ctx context.Context, code catalog.AlarmCode, text string) error {
	ctx, cancel := context.WithTimeout(ctx, alarmLimit)
	defer cancel()
	if text == "" {
		return n.clearAlarm(ctx, code)
	}
	return n.raiseAlarm(ctx, code, text)
}
