package agent

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// maxPlain bounds the lines about files without findings.
const maxPlain = 20

// WriteReport prints a result for people: files with errors first, then those
// with warnings, then the rest, and the verdict last, where a log ends.
func WriteReport(w io.Writer, r api.Result) error {
	s := &strings.Builder{}
	for _, f := range r.Findings {
		writeFinding(s, "package", f)
	}
	files := slices.Clone(r.Files)
	slices.SortStableFunc(files, func(a, b api.ResultFile) int { return cmp.Compare(worst(a), worst(b)) })
	plain, ignored := 0, []string{}
	sources, sourceBytes := 0, int64(0)
	for _, f := range files {
		switch {
		case f.Kind == catalog.KindSource && len(f.Findings) == 0:
			sources++
			sourceBytes += f.Size
		case f.Status == api.FileIgnored:
			ignored = append(ignored, f.Path)
		case len(f.Findings) > 0:
			for _, x := range f.Findings {
				writeFinding(s, f.Path, x)
			}
			if len(f.Quality) > 0 {
				fmt.Fprintf(s, "%-8s %s  %s\n", "quality", f.Path, catalog.QualityText(f.Quality))
			}
		default:
			if plain++; plain <= maxPlain {
				fmt.Fprintf(s, "%-8s %s\n", "ok", describe(f))
			}
		}
	}
	if plain > maxPlain {
		fmt.Fprintf(s, "%-8s %d more files\n", "ok", plain-maxPlain)
	}
	if sources > 0 {
		fmt.Fprintf(s, "%-8s %s, %s\n", "sources", plural(sources, "file"), Size(sourceBytes))
	}
	if n := len(ignored); n > 0 {
		more := ""
		if n > 5 {
			ignored, more = ignored[:5], ", ..."
		}
		fmt.Fprintf(s, "%-8s %s of no use to a debugger: %s%s\n", "ignored", plural(n, "file"), strings.Join(ignored, ", "), more)
	}
	if p := catalog.PolicyOf(r.Judged); !p.IsZero() {
		fmt.Fprintf(s, "%-8s %s\n", "policy", p)
	}
	fmt.Fprintln(s, summaryLine(r))
	_, err := io.WriteString(w, Clean(s.String()))
	return err
}

// worst orders files by their worst finding.
func worst(f api.ResultFile) int {
	w := 3
	for _, x := range f.Findings {
		switch x.Severity {
		case catalog.Error:
			return 0
		case catalog.Warning:
			w = min(w, 1)
		default:
			w = min(w, 2)
		}
	}
	return w
}

func writeFinding(s *strings.Builder, path string, f catalog.Finding) {
	fmt.Fprintf(s, "%-8s %s: %s\n         %s\n", f.Severity, path, f.Label(), strings.ReplaceAll(f.Message, "\n", "\n         "))
}

func describe(f api.ResultFile) string {
	words := []string{f.Path, string(f.Kind)}
	if f.Arch != "" {
		words = append(words, f.Arch)
	}
	words = append(words, Size(f.Size))
	if len(f.Quality) > 0 {
		words = append(words, catalog.QualityText(f.Quality))
	}
	if f.Status == api.FileDeduplicated {
		words = append(words, "(stored already)")
	}
	if len(f.Keys) > 0 {
		words = append(words, f.Keys[0])
	}
	return strings.Join(words, "  ")
}

func summaryLine(r api.Result) string {
	counts, status := map[catalog.Severity]int{}, map[api.FileStatus]int{}
	countSeverities(counts, r.Findings)
	for _, f := range r.Files {
		status[f.Status]++
		if f.Status != api.FileIgnored {
			countSeverities(counts, f.Findings)
		}
	}
	line := "verdict: " + string(r.Verdict)
	switch {
	case r.State == catalog.StateStuck:
		line = "no verdict: the package is stuck, three validators in a row died on it: see `symkeep package show`, then `symkeep package retry`"
	case r.Verdict == "":
		line = "no verdict yet: " + string(r.State)
	}
	if r.Package != "" {
		line += ", package " + string(r.Package)
	}
	line += fmt.Sprintf(": %s, %s in %s", plural(counts[catalog.Error], "error"), plural(counts[catalog.Warning], "warning"),
		plural(len(r.Files)-status[api.FileIgnored], "file"))
	if status[api.FileUploaded]+status[api.FileDeduplicated] > 0 {
		line += fmt.Sprintf("; %d uploaded, %d stored already", status[api.FileUploaded], status[api.FileDeduplicated])
	}
	return line
}
