/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/settings.h"

#include <stdio.h>
#include <string.h>

/* busd must answer at once, or there are no names of topics. */
#define TIMEOUT_MS_TEXT "500"

/** Where the last word of the line stands. */
struct place {
    struct ctl *ctl;
    const char *word; /* what is written of it */
    const char *group;
    const struct command *command;
    const struct opt_row *value_of; /* it is the value of this option */
    int arguments;                  /* of the command before it */
};

static void
offer(const struct place *place, const char *text, const char *tail)
{
    if (strncmp(text, place->word, strlen(place->word)) == 0)
        printf("%s%s\n", text, tail);
}

static void
offer_topics(const struct place *place)
{
    struct bus *bus;
    struct bus_topics *topics;
    struct bus_config *config = bus_config_new();
    if (!config)
        return;
    if (place->ctl->socket)
        bus_config_set(config, "socket.path", place->ctl->socket);
    bus_config_set(config, "request.timeout.ms", TIMEOUT_MS_TEXT);
    bus_config_set(config, "socket.connection.setup.timeout.ms", TIMEOUT_MS_TEXT);
    int rc = bus_open(config, &bus);
    bus_config_free(&config);
    if (rc < 0)
        return;
    if (bus_topics_fetch(bus, NULL, &topics) == 0) {
        for (size_t i = 0; i < bus_topics_count(topics); i++)
            offer(place, bus_topics_name(topics, i), "");
        bus_topics_free(&topics);
    }
    bus_close(&bus);
}

static void
offer_settings(const struct place *place, enum opt_complete kind)
{
    struct setting setting;
    for (size_t i = 0; settings_at(i, &setting); i++) {
        bool of_topic = strcmp(setting.scope, "topic") == 0;
        bool of_busd = strcmp(setting.scope, "busd") == 0;
        if (kind == OPT_ANY_SETTING)
            offer(place, setting.name, "");
        else if (kind == OPT_TOPIC_SETTING ? of_topic : !of_topic && !of_busd)
            offer(place, setting.name, "=");
    }
}

static void
offer_kind(const struct place *place, enum opt_complete kind)
{
    switch (kind) {
    case OPT_NOTHING:
        return;
    case OPT_TOPIC:
        offer_topics(place);
        return;
    case OPT_FILE:
        puts(":files");
        return;
    default:
        offer_settings(place, kind);
        return;
    }
}

/** The lower-case words between bars, as in "none|zstd". */
static void
offer_words(const struct place *place, const char *words)
{
    char word[64];
    while (strchr(words, '|') || *words) {
        size_t length = strcspn(words, "|");
        bool literal = length < sizeof word && strcspn(words, "NMT@-") >= length;
        if (literal) {
            memcpy(word, words, length);
            word[length] = '\0';
            offer(place, word, "");
        }
        words += length;
        words += *words == '|';
    }
}

static void
offer_options(const struct place *place, const struct opt_row *rows)
{
    char name[64];
    for (; rows && rows->key; rows++) {
        snprintf(name, sizeof name, "--%s", rows->name);
        offer(place, name, "");
    }
}

static void
offer_commands(const struct place *place)
{
    const struct command *command;
    const char *last = NULL;
    for (size_t i = 0; (command = command_at(i)); i++) {
        if (place->group) {
            if (command->group && strcmp(command->group, place->group) == 0)
                offer(place, command->name, "");
        } else if (!command->group) {
            offer(place, command->name, "");
        } else if (!last || strcmp(last, command->group) != 0) {
            offer(place, last = command->group, "");
        }
    }
}

static const struct opt_row *
find_row(const struct opt_row *rows, const char *word)
{
    for (; rows && rows->key; rows++) {
        bool by_name = word[1] == '-' && strcmp(word + 2, rows->name) == 0;
        bool by_letter = word[1] == rows->key && word[2] == '\0';
        if (by_name || by_letter)
            return rows;
    }
    return NULL;
}

/** Takes a word before the last one. */
static void
pass(struct place *place, const char *word)
{
    const struct opt_row *before = place->value_of;
    place->value_of = NULL;
    if (before) {
        /* bash makes a word of its own of the '=' in --socket=PATH. */
        if (strcmp(word, "=") == 0)
            place->value_of = before;
        else if (before->key == OPT_SOCKET)
            place->ctl->socket = word;
        return;
    }
    if (word[0] == '-' && word[1]) {
        const struct opt_row *row = find_row(opt_global, word);
        if (!row && place->command)
            row = find_row(place->command->options, word);
        place->value_of = row && row->value ? row : NULL;
    } else if (place->command) {
        place->arguments++;
    } else if (!place->group && command_is_group(word)) {
        place->group = word;
    } else {
        place->command = command_find(place->group, word);
    }
}

static void
offer_value(const struct place *place)
{
    if (strchr(place->value_of->value, '|'))
        offer_words(place, place->value_of->value);
    offer_kind(place, place->value_of->complete);
}

int
complete_words(struct ctl *ctl, int count, char **words)
{
    struct place place = {.ctl = ctl, .word = count > 0 ? words[count - 1] : ""};
    for (int i = 0; i + 1 < count; i++)
        pass(&place, words[i]);
    if (place.value_of && strcmp(place.word, "=") == 0)
        place.word = "";
    if (place.value_of) {
        offer_value(&place);
    } else if (place.word[0] == '-') {
        if (place.command)
            offer_options(&place, place.command->options);
        offer_options(&place, opt_global);
    } else if (!place.command) {
        offer_commands(&place);
    } else {
        offer_kind(&place, place.arguments == 0 ? place.command->first : place.command->others);
    }
    return ctl_flush(ctl);
}
