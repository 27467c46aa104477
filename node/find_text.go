package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/raftfsm"
)

// This file puts answers into words: one sentence why, one what to do next. They are
// made here, so that the command line, the web pages and scripts say the same.

// keptDays is how long keys of deleted and failed packages stay on record.
const keptDays = raftfsm.KeepTrashed / (24 * 3_600_000)

// explain fills in the text of an answer.
func (a *asked) explain(f *finder) {
	a.out.Text, a.out.Next = a.reason(f), ""
	if a.out.Answer != api.AnswerServed {
		a.out.Next = a.next(f)
	}
}

func (a *asked) reason(f *finder) string {
	if a.out.Answer == api.AnswerNeverSeen {
		return a.neverSeen(f)
	}
	found, ok := a.decisive()
	if !ok {
		w := a.out.Waiting[0]
		return fmt.Sprintf("not known yet: %s, which is %s, has a file of this name: %s", packageText(w.Package, w.Product, w.Version), progress(w.State), w.Path)
	}
	where := packageText(found.Candidate.Package, found.Product, found.Version)
	switch a.out.Answer {
	case api.AnswerServed:
		return fmt.Sprintf("served from %s, on %s%s", where, strings.Join(found.Holders, ", "), qualityText(found.Quality))
	case api.AnswerLost:
		return fmt.Sprintf("lost: it is in %s, but no member of the cluster holds its bytes", where)
	case api.AnswerPartial:
		return fmt.Sprintf("only the executable is served, from %s; no debug information is known under this id", where)
	case api.AnswerPending:
		return fmt.Sprintf("not served yet: it is in %s, which is %s", where, progress(found.Candidate.State))
	case api.AnswerStuck:
		return fmt.Sprintf("not served: it is in %s, which is stuck: %s", where, found.Reason)
	case api.AnswerDeleted:
		return fmt.Sprintf("deleted: it was in %s, %s on %s; this is on record until %s", where, orDeleted(found.Reason), day(found.DeletedAt), day(found.KnownUntil))
	}
	return fmt.Sprintf("not served: it is in %s, which failed%s", where, findingText(found))
}

// neverSeen says what the record covers, and the nearest miss.
func (a *asked) neverSeen(f *finder) string {
	s := &strings.Builder{}
	fmt.Fprintf(s, "never seen: no package on record has it; the record goes back %d days for deleted and failed packages", keptDays)
	if len(a.out.Near) > 0 {
		m := a.out.Near[0]
		fmt.Fprintf(s, "; nearest: %s, %s, in %s (%s)", m.Key, relationText[m.Relation], packageText(m.Package, m.Product, m.Version), m.State)
	}
	if !f.n.fsm.NamesWhole() {
		s.WriteString("; not all names are indexed yet, so other builds of the file may be known")
	}
	return s.String()
}

var relationText = map[api.Relation]string{
	api.OtherArtifact: "the other half of the same id",
	api.OtherForm:     "the same id in another form",
	api.OtherName:     "the same id under another name",
	api.OtherAge:      "the same GUID with another age",
	api.OtherID:       "another build of the same name",
}

// decisive returns the file that the answer is about.
func (a *asked) decisive() (api.FoundFile, bool) {
	want := a.out.Answer
	if want == api.AnswerPartial {
		want = api.AnswerServed
	}
	i := slices.Index(a.says, want)
	if i < 0 {
		return api.FoundFile{}, false
	}
	return a.out.Found[i], true
}

// next says what to do about a key that is not served.
func (a *asked) next(f *finder) string {
	var id catalog.PackageID
	if file, ok := a.decisive(); ok {
		id = file.Candidate.Package
	} else if len(a.out.Waiting) > 0 {
		id = a.out.Waiting[0].Package
	}
	switch a.out.Answer {
	case api.AnswerLost:
		return "start the members that held it, or push the same files again"
	case api.AnswerPartial:
		return "push the unstripped file or its .debug as well"
	case api.AnswerPending:
		return fmt.Sprintf("wait for the verdict: symkeep package show %s", id)
	case api.AnswerStuck:
		return fmt.Sprintf("see why no validator finished, then: symkeep package retry %s", id)
	case api.AnswerDeleted:
		if file, _ := a.decisive(); file.KnownUntil.After(f.now) {
			return fmt.Sprintf("symkeep package undelete %s brings it back; later only pushing the files again does", id)
		}
		return "push the files again"
	case api.AnswerFailed:
		return fmt.Sprintf("correct what the findings name and push again; all of them: symkeep package show %s", id)
	}
	if len(a.out.Near) > 0 {
		return a.nearAdvice(a.out.Near[0])
	}
	if a.asksFor(symid.KindSource) {
		return "push the program with --sources on the machine that compiled it; symkeep check --sources says what is found there"
	}
	return "push the files of the build that made it; files of a system or a vendor are on their symbol servers"
}

// nearAdvice says what usually went wrong when only a near miss is on record.
func (a *asked) nearAdvice(m api.NearMiss) string {
	if m.State != catalog.StateGood {
		return fmt.Sprintf("see what became of the near one: symkeep package show %s", m.Package)
	}
	switch m.Relation {
	case api.OtherArtifact:
		if a.wantsDebuginfo() {
			return "only the executable was pushed: push the unstripped file or its .debug of the same build as well"
		}
		return "only debug information was pushed: push the executable of the same build as well"
	case api.OtherForm:
		if a.asksFor(symid.KindBreakpad) {
			return "make the .sym with dump_syms from that file and push it"
		}
		return "push the file itself too; what is there is made from it"
	case api.OtherName:
		return "the file was renamed: push it under the name that is asked for"
	case api.OtherAge:
		return "the image and the PDB are not of the same link: push the PDB that was written with this image"
	}
	return "that is another build: push the files of the build that made this one"
}

func (a *asked) wantsDebuginfo() bool {
	return len(a.query.Keys) > 0 && a.query.Keys[0].Artifact == symid.Debuginfo
}

func packageText(id catalog.PackageID, product, version string) string {
	return fmt.Sprintf("package %s, %s %s", id, product, version)
}

// progress says what a package without a verdict waits for.
func progress(s catalog.State) string {
	switch s {
	case catalog.StateOpen:
		return "still being uploaded"
	case catalog.StateCommitted:
		return "waiting for its verdict"
	}
	return string(s)
}

func orDeleted(reason string) string {
	if reason == "" {
		return "deleted"
	}
	return reason
}

// qualityText says what a debugger gets.
func qualityText(qs []catalog.Quality) string {
	var names []string
	for _, q := range qs {
		names = append(names, string(q))
	}
	if len(names) == 0 {
		return ""
	}
	return "; gives " + strings.Join(names, ", ")
}

// findingText is the first error of a file. A package fails as a whole, so the file
// may have none.
func findingText(file api.FoundFile) string {
	if len(file.Findings) == 0 {
		return ", for findings on other files"
	}
	more := ""
	switch n := len(file.Findings); {
	case n == findingLimit:
		more = "; and more"
	case n > 1:
		more = fmt.Sprintf("; and %d more", n-1)
	}
	return fmt.Sprintf(": %s: %s%s", file.Findings[0].Code, file.Findings[0].Message, more)
}

// day prints a time to the minute.
func day(t time.Time) string { return t.Format("2006-01-02 15:04") + " UTC" }
