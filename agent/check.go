package agent

import (
	"context"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
	"symkeep/internal/validate"
)

// Check scans files below paths and validates them as one package, here, without
// a network. The result is that of Push without a package. workers is as in Scan.
func Check(ctx context.Context, paths []string, workers int, report Reporter) (api.Result, error) {
	files, err := Scan(ctx, paths, workers, report)
	if err != nil {
		return api.Result{}, interrupted(ctx, err, &push{})
	}
	reportPairs(files, report)
	r, err := check(ctx, files, workers, report)
	return r, interrupted(ctx, err, &push{})
}

func check(ctx context.Context, files []File, workers int, report Reporter) (api.Result, error) {
	subjects := make([]validate.File, len(files))
	for i := range files {
		subjects[i] = files[i].subject(i)
	}
	found, err := validate.Package(ctx, subjects, validate.Options{Workers: workers})
	if err != nil {
		return api.Result{}, err
	}
	r := api.Result{Verdict: found.Verdict, Findings: notNil(found.Findings)}
	ignored := map[int]bool{}
	for _, no := range found.Ignored {
		ignored[no] = true
	}
	for i, f := range files {
		r.Files = append(r.Files, checkedFile(f, found.Files[i], ignored[i]))
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
	if ignored {
		out.Status = api.FileIgnored
	}
	return out
}
