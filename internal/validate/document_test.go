package validate_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

var update = flag.Bool("update", false, "rewrite generated files")

const document = "../../docs/findings.md"

const documentHead = "# Findings\n\n" +
	"Every finding of a package has one of these codes. They are stable: scripts and policies may depend on them. One error\n" +
	"makes the verdict `failed`; warnings and infos do not. `symkeep findings CODE` prints a row of this page, and\n" +
	"`GET /api/v1/findings` gives all of them as JSON.\n\n" +
	"This page is generated from the table in `internal/validate`.\n\n" +
	"## Policies\n\n" +
	"The severity below is that of the table; a check may say less of a mild case or more of a bad one. A policy weighs\n" +
	"findings otherwise: to *allow* a code turns its errors into warnings, to *deny* one turns its warnings and infos into errors.\n" +
	"`symkeep push` and `symkeep check` take `--allow CODE` and `--deny CODE` for one package, `symkeep cluster policy set` sets both\n" +
	"for every package that is validated from then on. For each code the first of these counts:\n\n" +
	"1. the cluster denies it,\n" +
	"2. the push denies or allows it,\n" +
	"3. the cluster allows it,\n" +
	"4. the table.\n\n" +
	"The verdict keeps the policy it was given under (`judged` in JSON), and each finding whose severity a policy changed\n" +
	"says so (`policy`). A code whose column *fixed* gives a reason cannot be allowed: no debugger could be served such a file.\n" +
	"Neither can any error of a file that has no key.\n"

// rendered is the page about findings.
func rendered() string {
	b := &strings.Builder{}
	b.WriteString(documentHead)
	format := ""
	for _, c := range validate.Checks() {
		if c.Format != format {
			format = c.Format
			fmt.Fprintf(b, "\n## %s\n\n| code | severity | what is wrong | what to do | fixed |\n| --- | --- | --- | --- | --- |\n",
				strings.ToUpper(format[:1])+format[1:])
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", c.Code, c.Severity, cell(c.Summary), cell(c.Advice), cell(c.Fixed))
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// The page and the table say the same.
func TestDocument(t *testing.T) {
	want := rendered()
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/findings.md is not what the table of codes renders: run `go test ./internal/validate -run TestDocument -update`")
	}
}

// Rows of one format stand together, and have all that the page and others show.
func TestChecks(t *testing.T) {
	ended, last := map[string]bool{}, ""
	for _, c := range validate.Checks() {
		if c.Format == "" || c.Code == "" || c.Summary == "" || c.Advice == "" && c.Severity == catalog.Error {
			t.Errorf("check %+v: a column is empty", c)
		}
		if c.Format != last {
			if ended[c.Format] {
				t.Errorf("check %s: the rows of format %q are apart", c.Code, c.Format)
			}
			ended[last], last = true, c.Format
		}
	}
}
