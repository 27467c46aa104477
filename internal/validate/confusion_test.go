//go:build corpus

package validate_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// A confusion counts expectations and outcomes of packages.
type confusion struct {
	verdicts map[string]map[string]int // by family, then "expected got"
	hits     map[string]map[string]int // by "severity code", then outcome
}

func newConfusion() *confusion {
	return &confusion{verdicts: map[string]map[string]int{}, hits: map[string]map[string]int{}}
}

// Outcomes of one check on one package.
const (
	hit    = "hit"    // expected and found
	missed = "missed" // expected and not found
	extra  = "extra"  // found and not expected; for errors only, warnings may be more
)

// compare counts a package and says what is wrong with its report.
func (c *confusion) compare(s scenario, family string, rep validate.Report) []string {
	var wrong []string
	add(c.verdicts, family, s.Verdict+" "+string(rep.Verdict))
	if s.Verdict != "policy" && s.Verdict != string(rep.Verdict) {
		wrong = append(wrong, fmt.Sprintf("verdict %s, want %s", rep.Verdict, s.Verdict))
	}
	if s.Verdict == string(catalog.Good) && !hasKeys(rep) {
		wrong = append(wrong, "no keys")
	}
	found := codesOf(rep)
	expect := func(codes []string, sev catalog.Severity) {
		for _, code := range codes {
			outcome := hit
			if found[code] != sev {
				outcome = missed
				wrong = append(wrong, fmt.Sprintf("no %s %s among %v", sev, code, found))
			}
			add(c.hits, string(sev)+" "+code, outcome)
		}
	}
	expect(s.Checks, catalog.Error)
	expect(s.Warnings, catalog.Warning)
	for code, sev := range found {
		if sev != catalog.Error || slices.Contains(s.Checks, code) || s.Verdict == "policy" {
			continue
		}
		// One damage may be seen by several checks; an error in a good package is
		// one too many, and the verdict says so above.
		add(c.hits, string(sev)+" "+code, extra)
	}
	return wrong
}

func hasKeys(rep validate.Report) bool {
	return slices.ContainsFunc(rep.Files, func(f catalog.FileReport) bool { return len(f.Keys) > 0 })
}

// codesOf gives the worst severity of every code found.
func codesOf(rep validate.Report) map[string]catalog.Severity {
	rank := map[catalog.Severity]int{catalog.Error: 3, catalog.Warning: 2, catalog.Info: 1}
	codes := map[string]catalog.Severity{}
	note := func(all []catalog.Finding) {
		for _, f := range all {
			if rank[f.Severity] > rank[codes[f.Code]] {
				codes[f.Code] = f.Severity
			}
		}
	}
	note(rep.Findings)
	for _, fr := range rep.Files {
		note(fr.Findings)
	}
	return codes
}

func add(counts map[string]map[string]int, row, column string) {
	if counts[row] == nil {
		counts[row] = map[string]int{}
	}
	counts[row][column]++
}

// String prints verdicts by family and hits by check.
func (c *confusion) String() string {
	return tabulate("family", c.verdicts, []string{"good good", "good failed", "failed failed", "failed good", "policy good", "policy failed"}) +
		"\n" + tabulate("check", c.hits, []string{hit, missed, extra})
}

// tabulate prints a row per key of counts and one of sums.
func tabulate(title string, counts map[string]map[string]int, columns []string) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	heads := make([]string, len(columns))
	for i, column := range columns { // "good failed": expected good, got failed
		heads[i] = strings.Replace(column, " ", " -> ", 1)
	}
	fmt.Fprintf(w, "%s\t%s\n", title, strings.Join(heads, "\t"))
	sum := map[string]int{}
	line := func(row string, cells map[string]int) {
		fmt.Fprint(w, row)
		for _, column := range columns {
			fmt.Fprintf(w, "\t%d", cells[column])
		}
		fmt.Fprintln(w)
	}
	for _, row := range slices.Sorted(maps.Keys(counts)) {
		for column, n := range counts[row] {
			sum[column] += n
		}
		line(row, counts[row])
	}
	line("all", sum)
	w.Flush()
	return out.String()
}
