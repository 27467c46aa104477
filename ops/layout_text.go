package ops

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

func writeLayout(w io.Writer, p api.LayoutPlan) error {
	rows := [][]string{{"NAME", "ZONE", "WEIGHT", "SHARE", "BYTES", "COMPLETE"}}
	for _, n := range p.Nodes {
		complete := "yes"
		if n.SyncedUpTo < p.Base {
			complete = fmt.Sprintf("up to layout %d", n.SyncedUpTo)
		}
		if n.Weight == 0 {
			complete = "-"
		}
		rows = append(rows, []string{n.Name, orDash(n.Zone), weightText(n.Weight), percent(n.Share), agent.Size(n.Bytes), complete})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	text := fmt.Sprintf("layout %d, %s; %s, %s packed, each counted once", p.Base, plural(p.Replicas, "replica"), plural(p.Blobs, "blob"), agent.Size(p.Bytes))
	if len(p.Kept) > 0 {
		var kept []string
		for _, v := range p.Kept {
			kept = append(kept, strconv.FormatUint(v, 10))
		}
		text += "; copies still move away from layout " + strings.Join(kept, ", ")
	}
	_, err := fmt.Fprintf(w, "\n%s\n", text)
	return err
}

func writePlan(w io.Writer, p api.LayoutPlan) error {
	rows := [][]string{{"NAME", "ZONE", "WEIGHT", "SHARE", "BYTES", "FETCHES"}}
	for _, n := range p.Nodes {
		rows = append(rows, []string{n.Name, orDash(n.Zone), arrow(weightText(n.Weight), weightText(n.NewWeight)),
			arrow(percent(n.Share), percent(n.NewShare)), arrow(agent.Size(n.Bytes), agent.Size(n.NewBytes)), agent.Size(n.InBytes)})
	}
	if err := table(w, rows); err != nil {
		return err
	}
	text := fmt.Sprintf("on layout %d, %s: %s in %s to move (the least possible is %s); %d of %d partitions get other owners",
		p.Base, plural(p.Replicas, "replica"), agent.Size(p.MoveBytes), plural(p.MoveBlobs, "copy"), agent.Size(p.LeastBytes), p.Partitions, catalog.Partitions)
	if p.LostBlobs > 0 {
		text += fmt.Sprintf("; LOST: %s with no copy elsewhere", plural(p.LostBlobs, "blob"))
	}
	fmt.Fprintln(w)
	return wrapped(w, "", text)
}

func arrow(before, after string) string {
	if before == after {
		return before
	}
	return before + " -> " + after
}

func weightText(w int) string {
	if w == 0 {
		return "none"
	}
	return strconv.Itoa(w)
}
