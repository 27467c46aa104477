package notify

import (
	"fmt"
	"iter"
	"strings"

	"symkeep/internal/catalog"
)

// Bounds of one message.
const (
	MaxFindings = 1000
	MaxBody     = 512 << 10 // bytes of text

	maxFindingText = 4 << 10 // bytes of one finding
	maxSubjectText = 120     // bytes of product and of version in the subject
)

// Render writes the message for a notice about p. Files is walked up to three
// times, once per severity, and only as far as the bounds of a message need;
// files without findings may be left out of it. The errors it yields are
// returned. From and To are left to the caller.
func Render(p catalog.Package, files iter.Seq2[catalog.File, error], cluster catalog.ClusterID, n catalog.Notice) (Message, error) {
	m := Message{
		ID:      fmt.Sprintf("%d.%s@%s", n.Seq, n.Package, cluster),
		Date:    n.At,
		Subject: subject(p, n),
	}
	b := &body{}
	b.head(p, n, cluster)
	if p.State == catalog.StateStuck {
		b.line("Three validators in a row died on it, so there is no verdict. Look into the logs of the nodes, then run:")
		b.line("  symkeep package retry %s --server URL", p.ID)
		b.line("")
	}
	for _, s := range []struct {
		severity catalog.Severity
		title    string
		total    int
	}{{catalog.Error, "Errors", p.Errors}, {catalog.Warning, "Warnings", p.Warnings}, {catalog.Info, "Notes", p.Infos}} {
		if err := b.section(p, files, s.severity, s.title, s.total); err != nil {
			return Message{}, err
		}
	}
	if rest := p.Errors + p.Warnings + p.Infos - b.shown; rest > 0 {
		b.line("%d more findings are not in this message. To list all of them:", rest)
	} else {
		b.line("To see the package, its files and every finding:")
	}
	b.line("  symkeep package show %s --server URL", p.ID)
	m.Text = b.String()
	return m, nil
}

func subject(p catalog.Package, n catalog.Notice) string {
	state := verdictWord(p, n)
	s := fmt.Sprintf("[symkeep] %s: %s %s", state, clip(p.Product, maxSubjectText), clip(p.Version, maxSubjectText))
	switch {
	case state != string(catalog.Failed):
		return s
	case p.Errors == 1:
		return s + " (1 error)"
	}
	return fmt.Sprintf("%s (%d errors)", s, p.Errors)
}

// verdictWord is what the notice is about: a package may have moved on since.
func verdictWord(p catalog.Package, n catalog.Notice) string {
	switch {
	case n.Kind == catalog.NoticeStuck:
		return string(catalog.StateStuck)
	case p.State == catalog.StateGood || p.State == catalog.StateFailed:
		return string(p.State)
	case p.Errors > 0:
		return string(catalog.Failed)
	}
	return string(catalog.Good)
}

// body is the text of a message under its bounds.
type body struct {
	strings.Builder
	shown int // findings
}

func (b *body) line(format string, args ...any) {
	fmt.Fprintf(&b.Builder, format, args...)
	b.WriteByte('\n')
}

func (b *body) head(p catalog.Package, n catalog.Notice, cluster catalog.ClusterID) {
	b.line("package:  %s", oneLine(string(p.ID)))
	b.line("product:  %s", oneLine(p.Product))
	b.line("version:  %s", oneLine(p.Version))
	b.line("verdict:  %s", verdictLine(p, n))
	b.line("files:    %d, %d bytes", p.Files, p.Bytes)
	b.line("findings: %d errors, %d warnings, %d notes", p.Errors, p.Warnings, p.Infos)
	if judged := catalog.PolicyOf(p.Judged); !judged.IsZero() {
		b.line("policy:   %s", judged)
	}
	if p.Comment != "" {
		b.line("comment:  %s", clip(oneLine(p.Comment), 1024))
	}
	b.line("cluster:  %s", oneLine(string(cluster)))
	b.line("")
}

func verdictLine(p catalog.Package, n catalog.Notice) string {
	word := verdictWord(p, n)
	switch {
	case word == string(catalog.StateStuck):
		return "none, the package is stuck; nothing of it is visible to debuggers"
	case word == string(catalog.Failed):
		return "failed; nothing of it is visible to debuggers"
	case p.State != catalog.StateGood:
		return fmt.Sprintf("%s; the package is %s now", word, p.State)
	}
	return word
}

// section lists the findings of one severity, those of the package first, then
// by file.
func (b *body) section(p catalog.Package, files iter.Seq2[catalog.File, error], s catalog.Severity, title string, total int) error {
	if total == 0 || b.full() {
		return nil
	}
	left := total
	b.line("%s (%d)", title, total)
	left -= b.group("the package as a whole", p.Findings, s)
	if left > 0 {
		for f, err := range files {
			if err != nil {
				return err
			}
			left -= b.group(fileTitle(f), f.Findings, s)
			if left <= 0 || b.full() {
				break
			}
		}
	}
	b.line("")
	return nil
}

// fileTitle is the path of a file and what a debugger gets from it.
func fileTitle(f catalog.File) string {
	title := clip(f.Path, catalog.MaxPath)
	if len(f.Quality) > 0 {
		title += " (" + catalog.QualityText(f.Quality) + ")"
	}
	return title
}

// group lists those findings that have the severity and returns how many.
func (b *body) group(title string, findings []catalog.Finding, s catalog.Severity) int {
	n := 0
	for _, f := range findings {
		if f.Severity != s {
			continue
		}
		if b.full() {
			break
		}
		if n == 0 {
			b.line("  %s", oneLine(title))
		}
		b.line("    %s: %s", oneLine(f.Label()), clip(oneLine(f.Message), maxFindingText))
		n++
		b.shown++
	}
	return n
}

// full reports whether another finding could break a bound of the message; it
// keeps room for the longest one and for the last lines.
func (b *body) full() bool {
	return b.shown >= MaxFindings || b.Len() > MaxBody-4*maxFindingText
}
