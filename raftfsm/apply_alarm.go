package raftfsm

import (
	"slices"

	"symkeep/internal/catalog"
)

// maxAlarmText bounds Alarm.Text, in bytes.
const maxAlarmText = 2 << 10

func (c RaiseAlarm) apply(s *state) (any, error) {
	a := c.Alarm
	if _, err := s.memberOf(a.Node); err != nil {
		return nil, err
	}
	if err := checkName("alarm code", string(a.Code)); err != nil {
		return nil, err
	}
	if err := catalog.CheckText("alarm text", a.Text, maxAlarmText); err != nil {
		return nil, err
	}
	alarms := s.head.alarms
	if i := slices.IndexFunc(alarms, func(o catalog.Alarm) bool { return o.Node == a.Node && o.Code == a.Code }); i >= 0 {
		if alarms[i].Text != a.Text {
			alarms[i].Text, alarms[i].At = a.Text, a.At
			s.putAlarms(alarms)
		}
		return nil, nil
	}
	a.Index = s.index
	s.putAlarms(lastAlarms(append(alarms, a)))
	s.notify(catalog.Notice{Kind: catalog.NoticeAlarm, At: a.At, Alarm: &a})
	return nil, nil
}

// lastAlarms makes room for the newest, the last one: of more than MaxAlarms the oldest
// goes, one that a person has to clear only if all are such.
func lastAlarms(alarms []catalog.Alarm) []catalog.Alarm {
	if len(alarms) <= MaxAlarms {
		return alarms
	}
	i := slices.IndexFunc(alarms[:MaxAlarms], func(a catalog.Alarm) bool { return a.Code != catalog.AlarmDiverged })
	return slices.Delete(alarms, max(i, 0), max(i, 0)+1)
}

func (c ClearAlarm) apply(s *state) (any, error) {
	for _, text := range []string{string(c.Node), string(c.Code)} {
		if err := catalog.CheckText("alarm", text, maxName); err != nil {
			return nil, err
		}
	}
	s.clearAlarms(func(a catalog.Alarm) bool {
		return (c.Node == "" || c.Node == a.Node) && (c.Code == "" || c.Code == a.Code)
	})
	return nil, nil
}

// clearAlarmsOf ends the alarms of a member that leaves: nobody can act on its disk
// or clock any more. A catalog that came out different stands until a person
// clears it, because the cause may be in every build.
func (s *state) clearAlarmsOf(id catalog.NodeID) {
	s.clearAlarms(func(a catalog.Alarm) bool { return a.Node == id && a.Code != catalog.AlarmDiverged })
}

func (s *state) clearAlarms(over func(catalog.Alarm) bool) {
	alarms := slices.DeleteFunc(s.head.alarms, over)
	if len(alarms) < len(s.head.alarms) {
		s.putAlarms(alarms)
	}
}

// putAlarms replaces the list, oldest first. An empty one has no row, so that a
// catalog without alarms is what an older build would have written.
func (s *state) putAlarms(alarms []catalog.Alarm) {
	s.head.alarms = alarms
	if len(alarms) == 0 {
		s.delete(bucketMeta, keyAlarms)
	} else {
		s.put(bucketMeta, keyAlarms, mustJSON(alarms))
	}
	s.emit(Event{Type: AlarmsChanged})
}

// Alarms returns the standing alarms, oldest first.
func (f *FSM) Alarms() []catalog.Alarm {
	return append([]catalog.Alarm{}, f.head.Load().alarms...)
}
