package agent

import (
	"context"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/spool"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// Check scans files below paths and validates them as one package, here, without
// a network. The result is that of Push without a package. workers is as in Scan; what
// is found is weighed by policy alone.
func Check(ctx context.Context, paths []string, workers int, policy catalog.Policy, report Reporter) (api.Result, error) {
	dir := spool.New("", nil)
	defer dir.Close()
	files, err := Scan(ctx, paths, dir, workers, report)
	if err != nil {
		return api.Result{}, interrupted(ctx, err, &push{})
	}
	reportPairs(files, report)
	r, err := check(ctx, files, workers, policy, report)
	return r, interrupted(ctx, err, &push{})
}

func check(ctx context.Context, files []File, workers int, policy catalog.Policy, report Reporter) (api.Result, error) {
	var subjects []validate.File
	for i := range files {
		if !files[i].passedOver() {
			subjects = append(subjects, files[i].subject(i))
		}
	}
	found, err := validate.Package(ctx, subjects, validate.Options{Workers: workers, Policy: policy})
	if err != nil {
		return api.Result{}, err
	}
	r := api.Result{Verdict: found.Verdict, Findings: notNil(found.Findings), Policy: policy.Ref(), Judged: policy.Ref()}
	ignored := map[int]bool{}
	for _, no := range found.Ignored {
		ignored[no] = true
	}
	reports := found.Files // of the subjects, in order
	for i, f := range files {
		if f.passedOver() {
			r.Files = append(r.Files, passedFile(f))
			continue
		}
		r.Files = append(r.Files, checkedFile(f, reports[0], ignored[i]))
		reports = reports[1:]
	}
	report.Report(Event{Event: EventVerdict, Verdict: r.Verdict})
	return r, nil
}

func checkedFile(f File, fr catalog.FileReport, ignored bool) api.ResultFile {
	keys := []symid.Key{}
	for _, k := range fr.Keys {
		keys = append(keys, k.Key)
	}
	out := resultFile(f)
	out.Kind, out.Arch, out.IDs = kindOf(fr.Kind), fr.Arch, notNil(fr.IDs)
	out.Keys, out.Findings, out.Status = api.KeyPaths(keys), notNil(fr.Findings), api.FileChecked
	out.Quality = notNil(fr.Quality)
	if ignored {
		out.Status = api.FileIgnored
	}
	return out
}
