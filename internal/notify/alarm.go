package notify

import (
	"fmt"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

const maxAlarmText = 16 << 10 // bytes

// advice says, per code, what an alarm means for the data and what to do about it.
// A code that a later build made is mailed without.
var advice = map[catalog.AlarmCode][]string{
	catalog.AlarmDiverged: {
		"The node applied the same log as the others and came to another catalog, so it",
		"has stopped. What the others serve is not affected. Keep its data directory for",
		"analysis, and start the node with an empty one and --join under the same --name.",
	},
	catalog.AlarmBitRot: {
		"Nothing is lost: the damaged copies were set aside and are made anew from other",
		"members. One now and then is normal for a disk. Look at its SMART data and at the",
		"kernel's log, and clear the alarm.",
	},
	catalog.AlarmSuspectDisk: {
		"Disks that damage several files within a day tend to damage more. Drain the node,",
		"wait until the drain is finished, and replace the disk:",
		"  symkeep cluster drain NODE --server URL",
	},
	catalog.AlarmDiskFull: {
		"Give the node more room, delete packages, or move copies elsewhere by a smaller",
		"weight in the layout. At 92 percent it takes no pushes, at 97 it only reads.",
	},
	catalog.AlarmDiskSlow: {
		"Writes are acknowledged late, and a leader on this disk slows down every push.",
		"Look for other load on the disk, and for errors in the kernel's log.",
	},
	catalog.AlarmDiskHung: {
		"The node ended itself, so that another one can lead. Look for errors of the disk",
		"in the kernel's log before the node is started again.",
	},
	catalog.AlarmSnapshotLoop: {
		"The node cannot keep up with the log and falls back to snapshots. Look at its",
		"disk and network. If it does not come on, start it with an empty data directory",
		"and --join under the same --name.",
	},
	catalog.AlarmClock: {
		"Times in mails and lists are off; the data is safe, for the cluster does not",
		"order anything by the wall clock. Check the time service of both nodes. The alarm",
		"ends by itself.",
	},
	catalog.AlarmStuck: {
		"The node has ended its process and is started again by its supervisor. If this",
		"repeats, report it with the logs of the node.",
	},
}

// RenderAlarm writes the message for a notice of an alarm; n.Alarm is set. Name is
// that of the node the alarm is about. From and To are left to the caller.
func RenderAlarm(name string, cluster catalog.ClusterID, n catalog.Notice) Message {
	a := n.Alarm
	name = clip(oneLine(name), maxSubjectText)
	code := clip(oneLine(string(a.Code)), maxSubjectText)
	b := &body{}
	b.line("alarm:    %s", code)
	b.line("node:     %s (%s)", name, oneLine(string(a.Node)))
	b.line("raised:   %s", n.At.UTC().Format(time.RFC3339))
	b.line("cluster:  %s", oneLine(string(cluster)))
	b.line("")
	b.line("%s", clip(oneLine(a.Text), maxAlarmText))
	b.line("")
	if lines := advice[a.Code]; len(lines) > 0 {
		for _, l := range lines {
			b.line("%s", strings.ReplaceAll(l, "NODE", name))
		}
		b.line("")
	}
	b.line("To see what stands now, and to clear it once it is dealt with:")
	b.line("  symkeep cluster status --server URL")
	b.line("  symkeep cluster alarms clear %s --code %s --server URL", name, code)
	return Message{
		ID:      fmt.Sprintf("%d.alarm@%s", n.Seq, cluster),
		Date:    n.At,
		Subject: fmt.Sprintf("[symkeep] ALARM %s on %s", code, name),
		Text:    b.String(),
	}
}
