package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/google/uuid"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
	"symkeep/raftfsm"
)

// alarmLevel is the feature level at which the cluster keeps alarms.
const alarmLevel = 2

// raiseAlarm makes an alarm about this node stand, until it is cleared, and mails it
// if it did not stand before. A cluster that does not keep alarms yet is no error.
func (n *Node) raiseAlarm(ctx context.Context, code catalog.AlarmCode, text string) error {
	return n.raiseAlarmAbout(ctx, n.id.Node, code, text)
}

func (n *Node) raiseAlarmAbout(ctx context.Context, node catalog.NodeID, code catalog.AlarmCode, text string) error {
	if n.fsm.FeatureLevel() < alarmLevel {
		return nil
	}
	text = alarmText(text)
	a := catalog.Alarm{Node: node, Code: code, Text: text, At: fault.Now().UTC()}
	if old, ok := n.standing(node, code); ok && old.Text == text {
		return nil
	}
	_, err := n.propose(ctx, raftfsm.RaiseAlarm{Alarm: a})
	if err == nil {
		n.log.Error("alarm raised", "alarm", string(code), "peer", string(node), "err", text)
	}
	return err
}

// clearAlarm ends an alarm about this node, if it stands.
func (n *Node) clearAlarm(ctx context.Context, code catalog.AlarmCode) error {
	return n.clearAlarmAbout(ctx, n.id.Node, code)
}

func (n *Node) clearAlarmAbout(ctx context.Context, node catalog.NodeID, code catalog.AlarmCode) error {
	if _, ok := n.standing(node, code); !ok {
		return nil
	}
	_, err := n.propose(ctx, raftfsm.ClearAlarm{Node: node, Code: code})
	if err == nil {
		n.log.Info("alarm is over", "alarm", string(code), "peer", string(node))
	}
	return err
}

// standing returns the alarm of a node and code as this node has applied it.
func (n *Node) standing(node catalog.NodeID, code catalog.AlarmCode) (catalog.Alarm, bool) {
	alarms := n.fsm.Alarms()
	i := slices.IndexFunc(alarms, func(a catalog.Alarm) bool { return a.Node == node && a.Code == code })
	if i < 0 {
		return catalog.Alarm{}, false
	}
	return alarms[i], true
}

// ClearAlarms ends the standing alarms that match. A node may be named by its id
// although it is no member any more.
func (n *Node) ClearAlarms(ctx context.Context, r api.AlarmRequest) error {
	cmd := raftfsm.ClearAlarm{Code: r.Code}
	if r.Node != "" {
		m, err := n.memberNamed(r.Node)
		if id, uerr := uuid.Parse(r.Node); err != nil && uerr == nil {
			m, err = catalog.Member{ID: catalog.NodeID(id.String())}, nil
		}
		if err != nil {
			return err
		}
		cmd.Node = m.ID
	}
	_, err := n.propose(ctx, cmd)
	return err
}

// Timings of alarms.
const (
	damageWindow = 24 * time.Hour // damages this close together make a disk suspect
	damageRepeat = 24 * time.Hour // an alarm of damages is raised once in so long
	damagePause  = 5 * time.Second
	suspectAt    = 2 // damaged copies within the window
)

// A damageLog counts the copies of this node that turned out damaged.
type damageLog struct {
	mu     sync.Mutex
	seen   []time.Time // within damageWindow, at most maxDamages
	newest string
	raised map[catalog.AlarmCode]time.Time
	wake   chan struct{}
}

// maxDamages bounds what a damageLog remembers.
const maxDamages = 1000

func newDamageLog() *damageLog {
	return &damageLog{raised: map[catalog.AlarmCode]time.Time{}, wake: make(chan struct{}, 1)}
}

// note counts one damaged copy. It never blocks.
func (l *damageLog) note(d catalog.Digest, cause error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) < maxDamages {
		l.seen = append(l.seen, now)
	}
	l.newest = fmt.Sprintf("%s: %v", d, cause)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due returns the alarms that damages up to now call for.
func (l *damageLog) due(now time.Time) (codes []catalog.AlarmCode, count int, newest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = slices.DeleteFunc(l.seen, func(at time.Time) bool { return now.Sub(at) > damageWindow })
	for _, c := range []struct {
		code catalog.AlarmCode
		at   int
	}{{catalog.AlarmBitRot, 1}, {catalog.AlarmSuspectDisk, suspectAt}} {
		if last, ok := l.raised[c.code]; len(l.seen) >= c.at && (!ok || now.Sub(last) > damageRepeat) {
			codes = append(codes, c.code)
		}
	}
	return codes, len(l.seen), l.newest
}

func (l *damageLog) done(code catalog.AlarmCode, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raised[code] = now
}

// noteDamage is told of each copy of this node that turned out damaged. It never
// blocks.
func (n *Node) noteDamage(d catalog.Digest, cause error) { n.damage.note(d, cause, time.Now()) }

// runDamage raises the alarms of damaged copies.
func (n *Node) runDamage(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.damage.wake:
		}
		for !n.raiseDamage(ctx) {
			if !pause(ctx, damagePause) {
				return nil
			}
		}
	}
}

// raiseDamage reports whether every alarm that is due was raised.
func (n *Node) raiseDamage(ctx context.Context) bool {
	if n.consensus() == nil {
		return false
	}
	codes, count, newest := n.damage.due(time.Now())
	for _, code := range codes {
		text := fmt.Sprintf("node %s: %d copies found damaged within a day and made anew; the last was blob %s", n.name, count, newest)
		if err := n.raiseAlarm(ctx, code, text); err != nil {
			return false
		}
		n.damage.done(code, time.Now())
	}
	return true
}

// maxAlarmText bounds what an alarm says, in bytes.
const maxAlarmText = 1500

// alarmText makes one line of plain text of what an error says: the catalog takes no
// other.
func alarmText(s string) string {
	s = strings.ReplaceAll(s, "\n", "; ")
	s = strings.ToValidUTF8(s[:min(len(s), maxAlarmText)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Bounds of a wall clock's difference from that of the leader.
const (
	skewWarn  = time.Second
	skewAlarm = 30 * time.Second
	skewOver  = 20 * time.Second // an alarm that stands ends below this
)

// runClocks has the leader compare the members' wall clocks with its own.
func (n *Node) runClocks(ctx context.Context) error {
	for pause(ctx, auditEvery) {
		if n.fsm.FeatureLevel() >= alarmLevel {
			n.judgeClocks(ctx, n.askMembers(ctx))
		}
	}
	return nil
}

// judgeClocks raises and ends alarms about wall clocks.
func (n *Node) judgeClocks(ctx context.Context, views []memberView) {
	for _, v := range views {
		if !v.answered || v.member.ID == n.id.Node {
			continue
		}
		var err error
		switch off := v.skew.Abs() - v.maybe; {
		case off > skewAlarm:
			err = n.raiseAlarmAbout(ctx, v.member.ID, catalog.AlarmClock, fmt.Sprintf(
				"node %s: its wall clock differs by about %s from that of the leader %s: check the time service of both",
				v.member.Name, v.skew.Round(10*time.Second), n.name))
		case off < skewOver:
			err = n.clearAlarmAbout(ctx, v.member.ID, catalog.AlarmClock)
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("alarm not changed", "alarm", string(catalog.AlarmClock), "peer", string(v.member.ID), "err", err)
		}
	}
}
