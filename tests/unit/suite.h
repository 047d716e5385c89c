#pragma once

#include <check.h>

/* Runs one suite and reports every test case in TAP on standard output. */
static inline int suite_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}

/* A suite of one test case, to which tests are added by tcase_add_test. */
static inline Suite *suite_of(const char *name, TCase **test_case)
{
	Suite *suite = suite_create(name);

	*test_case = tcase_create(name);
	suite_add_tcase(suite, *test_case);
	return suite;
}
