package ops

import "symkeep/internal/api"

// A foundKey is one answer, and the module that it is about. In JSON a module without
// keys is one of these too, with a problem and no answer.
type foundKey struct {
	Module  string `json:"module,omitempty"`
	Role    role   `json:"role,omitempty"`
	Problem string `json:"problem,omitempty"`
	*api.FindResponse

	of int // index of the module; -1 for keys by themselves
}

// A findSummary counts what a report says, before anything is left out of it.
type findSummary struct {
	Keys     int                `json:"keys"`
	Served   int                `json:"served"`
	Answers  map[api.Answer]int `json:"answers"`
	Modules  int                `json:"modules,omitempty"`
	Complete int                `json:"complete,omitempty"` // modules that have all they need
}

// whole reports whether nothing is missing.
func (s findSummary) whole() bool {
	if s.Modules > 0 {
		return s.Complete == s.Modules
	}
	return s.Served == s.Keys
}

type findReport struct {
	keys    []foundKey   // to show
	modules [][]foundKey // of a dump, per module, whether shown or not
	lacks   []bool       // per module: something is missing
	summary findSummary
}

// newFindReport brings answers, which are in the order of the queries, to their
// modules.
func newFindReport(s subject, answers []api.FindResponse) *findReport {
	rep := &findReport{summary: findSummary{Keys: len(answers), Answers: map[api.Answer]int{}, Modules: len(s.modules)}}
	for i := range answers {
		if served(answers[i]) {
			rep.summary.Served++
		}
		rep.summary.Answers[answers[i].Answer]++
		if s.modules == nil {
			rep.keys = append(rep.keys, foundKey{FindResponse: &answers[i], of: -1})
		}
	}
	if s.modules != nil {
		rep.modules = [][]foundKey{}
	}
	next := 0
	for i, m := range s.modules {
		var keys []foundKey
		for _, k := range m.keys {
			keys = append(keys, foundKey{Module: m.name, Role: k.role, FindResponse: &answers[next], of: i})
			next++
		}
		if len(keys) == 0 {
			keys = []foundKey{{Module: m.name, Problem: m.problem, of: i}}
		}
		rep.modules, rep.keys = append(rep.modules, keys), append(rep.keys, keys...)
		rep.lacks = append(rep.lacks, !rep.complete(i))
		if !rep.lacks[i] {
			rep.summary.Complete++
		}
	}
	return rep
}

// best returns the best answer that a module has in a role; nil if it has no key there.
func (rep *findReport) best(of int, r role) *api.FindResponse {
	var best *api.FindResponse
	for _, k := range rep.modules[of] {
		if k.Role == r && k.FindResponse != nil && (best == nil || !served(*best) && better(*k.FindResponse, *best)) {
			best = k.FindResponse
		}
	}
	return best
}

// better reports whether a says more than b: it is served, or on record, or near.
func better(a, b api.FindResponse) bool {
	weight := func(x api.FindResponse) int {
		switch {
		case served(x):
			return 3
		case x.Answer != api.AnswerNeverSeen:
			return 2
		case len(x.Near) > 0:
			return 1
		}
		return 0
	}
	return weight(a) > weight(b)
}

// complete reports whether a debugger, or minidump_stackwalk, gets all that it asks of a
// module. Breakpad text is enough: it describes the stack without the image.
func (rep *findReport) complete(of int) bool {
	if sym := rep.best(of, roleSym); sym != nil && served(*sym) {
		return true
	}
	image, debug := rep.best(of, roleImage), rep.best(of, roleDebug)
	if image == nil && debug == nil {
		return false
	}
	return (image == nil || served(*image)) && (debug == nil || served(*debug))
}

// dropServed leaves out keys that are served and modules that lack nothing. The
// summary stays.
func (rep *findReport) dropServed() {
	var keys []foundKey
	for _, k := range rep.keys {
		if k.of >= 0 && !rep.lacks[k.of] || k.FindResponse != nil && served(*k.FindResponse) {
			continue
		}
		keys = append(keys, k)
	}
	rep.keys = keys
}
