/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/unit.h"

#include <CUnit/TestRun.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    void (*registers)(void);
} suites[] = {
#define X(module) {#module, register_##module},
#include "unit/suites.def"
#undef X
};

static void
refuse(const char *what)
{
    fprintf(stderr, "unit: %s: %s\n", what, CU_get_error_msg());
    exit(1);
}

void
unit_register(const char *suite, const struct unit_case *cases)
{
    CU_pSuite added = CU_add_suite(suite, NULL, NULL);
    if (!added)
        refuse(suite);
    for (; cases->name; cases++)
        if (!CU_add_test(added, cases->name, cases->run))
            refuse(cases->name);
}

/* A line per case, in the form that tests/lib/driver.sh counts. */
static void
tell_case(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
    printf("%s - %s: %s\n", failure ? "not ok" : "ok", suite->pName, test->pName);
    for (CU_pFailureRecord at = failure; at; at = at->pNext)
        printf("#   %s:%u: %s\n", at->strFileName, at->uiLineNumber, at->strCondition);
    fflush(stdout);
}

static bool
wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(name, argv[i]) == 0)
            return true;
    return argc == 1;
}

static unsigned
register_wanted(int argc, char **argv)
{
    unsigned count = 0;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        if (!wanted(suites[i].name, argc, argv))
            continue;
        suites[i].registers();
        count++;
    }
    return count;
}

/* unit [SUITE…]: runs the suites named, or all of them. */
int
main(int argc, char **argv)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        refuse("registry");
    if (register_wanted(argc, argv) == 0) {
        fprintf(stderr, "unit: no suite of that name; the names are in tests/unit/suites.def\n");
        return 2;
    }
    CU_set_test_complete_handler(tell_case);
    if (CU_run_all_tests() != CUE_SUCCESS)
        refuse("run");
    unsigned failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
    printf("# %u cases, %u failed, %u assertions\n", CU_get_number_of_tests_run(), failed,
        CU_get_number_of_asserts());
    CU_cleanup_registry();
    return failed == 0 ? 0 : 1;
}
