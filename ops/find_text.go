package ops

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// writeText writes the report for people: each key with what is known of it, or a
// table of modules and what is known of those that lack something.
func (rep *findReport) writeText(w io.Writer) error {
	if rep.modules != nil {
		return rep.writeModules(w)
	}
	for _, k := range rep.keys {
		if err := writeFound(w, *k.FindResponse); err != nil {
			return err
		}
	}
	return nil
}

func (rep *findReport) writeModules(w io.Writer) error {
	rows := [][]string{{"MODULE", "IMAGE", "DEBUG", "SYM"}}
	last := -1
	for _, k := range rep.keys {
		if k.of == last {
			continue
		}
		last = k.of
		row := []string{k.Module}
		for _, r := range roles {
			row = append(row, cell(rep.best(k.of, r)))
		}
		rows = append(rows, row)
	}
	if len(rows) > 1 {
		if err := table(w, rows); err != nil {
			return err
		}
	}
	s := &strings.Builder{}
	for _, k := range rep.keys {
		rep.writeLack(s, k)
	}
	fmt.Fprintf(s, "complete: %d of %s%s\n", rep.summary.Complete, plural(rep.summary.Modules, "module"), rep.counts())
	_, err := io.WriteString(w, agent.Clean(s.String()))
	return err
}

// cell is an answer in a word.
func cell(a *api.FindResponse) string {
	switch {
	case a == nil:
		return "-"
	case served(*a):
		return string(api.AnswerServed)
	case a.Answer == api.AnswerNeverSeen && len(a.Near) > 0:
		return string(a.Near[0].Relation)
	case a.Answer == "":
		return "not-served"
	}
	return string(a.Answer)
}

// writeLack explains a key that a module lacks, if there is more to say than that it
// was never seen: most modules of a dump belong to the system.
func (rep *findReport) writeLack(s *strings.Builder, k foundKey) {
	switch {
	case !rep.lacks[k.of]:
	case k.Problem != "":
		fmt.Fprintf(s, "%s: no key: %s\n", k.Module, k.Problem)
	case rep.best(k.of, k.Role) != k.FindResponse || served(*k.FindResponse):
	case k.Answer == api.AnswerNeverSeen && len(k.Near) == 0 || k.Text == "":
	default:
		fmt.Fprintf(s, "%s\n  %s\n  next: %s\n", k.Query, k.Text, k.Next)
	}
}

// counts lists the answers but the good one, most frequent first.
func (rep *findReport) counts() string {
	var parts []string
	answers := rep.summary.Answers
	var kinds []api.Answer
	for a := range answers {
		if a != api.AnswerServed && a != "" {
			kinds = append(kinds, a)
		}
	}
	slices.SortFunc(kinds, func(a, b api.Answer) int {
		if answers[a] != answers[b] {
			return answers[b] - answers[a]
		}
		return strings.Compare(string(a), string(b))
	})
	for _, a := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", answers[a], a))
	}
	if len(parts) == 0 {
		return ""
	}
	return "; of " + plural(rep.summary.Keys, "key") + " " + strings.Join(parts, ", ")
}

func writeFound(w io.Writer, a api.FindResponse) error {
	s := &strings.Builder{}
	fmt.Fprintln(s, a.Query)
	for _, f := range a.Found {
		writeFile(s, a, f)
	}
	switch {
	case a.Answer == api.AnswerServed:
	case a.Text != "":
		fmt.Fprintf(s, "  %s\n", a.Text)
	case len(a.Found) == 0:
		fmt.Fprintln(s, "  nobody has it: no package holds a file with this key")
	case !served(a):
		fmt.Fprintln(s, "  nobody is given it: no good package holds it")
	}
	for _, m := range a.Near {
		fmt.Fprintf(s, "  near: %s, %s, in package %s, %s %s (%s)\n", m.Key, m.Relation, m.Package, m.Product, m.Version, m.State)
	}
	if a.Next != "" {
		fmt.Fprintf(s, "  next: %s\n", a.Next)
	}
	_, err := io.WriteString(w, agent.Clean(s.String()))
	return err
}

func writeFile(s *strings.Builder, a api.FindResponse, f api.FoundFile) {
	state := "not served, " + string(f.Candidate.State)
	switch {
	case f.Served:
		state = "served"
	case f.Candidate.State == catalog.StateGood:
		state = "held as well, another one goes first"
	}
	fmt.Fprintf(s, "  %s: %s in package %s, %s %s\n", state, f.Path, f.Candidate.Package, f.Product, f.Version)
	if f.Key != "" && f.Key != a.Query {
		fmt.Fprintf(s, "    key %s\n", f.Key)
	}
	fmt.Fprintf(s, "    sha256 %s, verdict %s\n", f.Digest, stamp(f.At))
	if len(f.Quality) > 0 {
		fmt.Fprintf(s, "    gives %s\n", catalog.QualityText(f.Quality))
	}
	if len(f.Holders) > 0 {
		fmt.Fprintf(s, "    on %s\n", strings.Join(f.Holders, ", "))
	}
	if !f.DeletedAt.IsZero() {
		fmt.Fprintf(s, "    %s on %s, on record until %s\n", f.Reason, stamp(f.DeletedAt), stamp(f.KnownUntil))
	}
	for _, x := range f.Findings {
		fmt.Fprintf(s, "    %s %s: %s\n", x.Severity, x.Label(), x.Message)
	}
}
