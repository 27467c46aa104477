package notify_test

import (
	"flag"
	"fmt"
	"net/mail"
	"os"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/notify"
)

var update = flag.Bool("update", false, "rewrite golden files")

const node = catalog.NodeID("9d0c1a52-3f3e-4a39-9a7e-51c3a9b0d009")

func alarmNotice(code catalog.AlarmCode, text string) catalog.Notice {
	return catalog.Notice{
		Seq: 77, Kind: catalog.NoticeAlarm, State: catalog.NoticePending, At: at,
		Alarm: &catalog.Alarm{Node: node, Code: code, Text: text},
	}
}

// TestRenderAlarm compares the mail of every code with testdata/alarms.golden.
func TestRenderAlarm(t *testing.T) {
	const golden = "testdata/alarms.golden"
	var b strings.Builder
	for _, code := range []catalog.AlarmCode{
		catalog.AlarmDiverged, catalog.AlarmBitRot, catalog.AlarmSuspectDisk, catalog.AlarmDiskFull, catalog.AlarmDiskSlow,
		catalog.AlarmDiskHung, catalog.AlarmSnapshotLoop, catalog.AlarmClock, catalog.AlarmStuck, "made-later",
	} {
		m := notify.RenderAlarm("node-2", cluster, alarmNotice(code, "node node-2: found this, expected that: do so"))
		fmt.Fprintf(&b, "Subject: %s\nMessage-ID: %s\nDate: %s\n\n%s----\n", m.Subject, m.ID, m.Date, m.Text)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("alarm mails are\n%s\nwant those of %s", b.String(), golden)
	}
	if n := strings.Count(b.String(), "[symkeep] ALARM "); n != 10 {
		t.Errorf("%d subjects name an alarm, want 10", n)
	}
}

// TestRenderAlarmHostile: what a node says stays on its lines.
func TestRenderAlarmHostile(t *testing.T) {
	m := notify.RenderAlarm("a\r\nBcc: x@y", cluster, alarmNotice("c\nd", strings.Repeat("x\n", 100<<10)))
	if strings.ContainsAny(m.Subject, "\r\n") || strings.Contains(m.Text, "\nBcc") || len(m.Text) > notify.MaxBody {
		t.Errorf("RenderAlarm = %q and %d bytes of text, want one line and bounded", m.Subject, len(m.Text))
	}
}

// TestWorkerSendsAlarms: an alarm needs no package, and names the node.
func TestWorkerSendsAlarms(t *testing.T) {
	s := startServer(t, &server{})
	o := newOutbox(1)
	n := alarmNotice(catalog.AlarmBitRot, "2 copies were damaged")
	empty := alarmNotice(catalog.AlarmBitRot, "")
	empty.Seq, empty.Alarm = 78, nil
	o.notices = append(o.notices, n, empty)
	start(t, o, relay(t, s, "smtp://%s", ""), nil)
	o.settle(t)
	subjects := map[string]bool{}
	for range 2 {
		m, err := mail.ReadMessage(strings.NewReader((<-s.got).data))
		if err != nil {
			t.Fatal(err)
		}
		subjects[m.Header.Get("Subject")] = true
	}
	if !subjects["[symkeep] ALARM bit-rot on node-2"] {
		t.Errorf("subjects are %v, want one of the alarm", subjects)
	}
	if o.notices[1].State != catalog.NoticeSent || o.notices[2].State != catalog.NoticeDropped {
		t.Errorf("notices are %+v, want the alarm sent and the empty one dropped", o.notices[1:])
	}
}
