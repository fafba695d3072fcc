/* SPDX-License-Identifier: Apache-2.0 */
#include "base/check.h"
#include "configuration.h"
#include "fuzz/target.h"

#include <string.h>

/** What was taken has a canonical text, which is taken back and stays as it is. */
static void
check_canonical(const struct settings *settings)
{
    struct settings again;
    settings_init(&again, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    for (unsigned i = 0; i < BROKER_SETTINGS; i++) {
        char first[SETTING_FORMAT_BYTES], second[SETTING_FORMAT_BYTES];
        if (!settings_is_set(settings, i))
            continue;
        const char *text = settings_format(settings, i, first);
        MUST(settings_set(&again, i, text) == 0);
        MUST(strcmp(settings_format(&again, i, second), text) == 0);
    }
    settings_fini(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    FILE *stream = fmemopen((void *)(uintptr_t)data, size, "r");
    MUST(stream);
    struct settings settings;
    settings_init(&settings, &setting_table_broker, SETTING_FROM_STATIC, NULL);
    int rc = config_read(stream, "input", &settings);
    MUST(rc == 0 || err_text()[0] != '\0');
    check_canonical(&settings);
    settings_fini(&settings);
    fclose(stream);
    return 0;
}
