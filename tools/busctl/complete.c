/* SPDX-License-Identifier: Apache-2.0 */
#include "busctl/command.h"
#include "busctl/settings.h"

#include <stdio.h>
#include <string.h>

/* busd must answer at once, or there are no names of topics and groups. */
#define TIMEOUT_MS_TEXT "500"

/** Where the last word of the line stands. */
struct place {
    struct ctl *ctl;
    const char *word;   /* what is written of it */
    const char *prefix; /* what stands before it in the same word of the shell; NULL: nothing */
    const char *group;
    const struct command *command;
    const struct opt_row *value_of; /* it is the value of this option */
    const char *setting;            /* it is the value of this setting; else NULL */
    enum opt_complete setting_kind; /* of that */
    bool at_setting;                /* the '=' behind its name was seen */
    int arguments;                  /* of the command before it */
};

/** What follows the first word of a value that has two. */
static const struct opt_row second_word = {.key = OPT_LONG, .name = "", .value = ""};

static void
offer(const struct place *place, const char *text, const char *tail)
{
    if (strncmp(text, place->word, strlen(place->word)) == 0)
        printf("%s%s%s\n", place->prefix ? place->prefix : "", text, tail);
}

/** Connects without patience; NULL when there is no busd. */
static struct bus *
connect_at_once(const struct place *place)
{
    struct bus *bus = NULL;
    struct bus_config *config = bus_config_new();
    if (!config)
        return NULL;
    if (place->ctl->socket)
        bus_config_set(config, "socket.path", place->ctl->socket);
    bus_config_set(config, "request.timeout.ms", TIMEOUT_MS_TEXT);
    bus_config_set(config, "socket.connection.setup.timeout.ms", TIMEOUT_MS_TEXT);
    bus_open(config, &bus);
    bus_config_free(&config);
    return bus;
}

static void
offer_topics(const struct place *place)
{
    struct bus_topics *topics;
    struct bus *bus = connect_at_once(place);
    if (bus && bus_topics_fetch(bus, NULL, &topics) == 0) {
        for (size_t i = 0; i < bus_topics_count(topics); i++)
            offer(place, bus_topics_name(topics, i), "");
        bus_topics_free(&topics);
    }
    bus_close(&bus);
}

static void
offer_groups(const struct place *place)
{
    struct bus_groups *groups;
    struct bus_group_state state;
    struct bus *bus = connect_at_once(place);
    if (bus && bus_groups_fetch(bus, NULL, &groups) == 0) {
        for (size_t i = 0; bus_groups_get(groups, i, &state) == 0; i++)
            offer(place, state.group, "");
        bus_groups_free(&groups);
    }
    bus_close(&bus);
}

static bool
is_of_kind(const struct setting *setting, enum opt_complete kind)
{
    bool of_topic = strcmp(setting->scope, "topic") == 0;
    bool of_busd = strcmp(setting->scope, "busd") == 0;
    if (kind == OPT_ANY_SETTING)
        return true;
    return kind == OPT_TOPIC_SETTING ? of_topic : !of_topic && !of_busd;
}

static void
offer_settings(const struct place *place, enum opt_complete kind)
{
    struct setting setting;
    for (size_t i = 0; settings_at(i, &setting); i++) {
        if (is_of_kind(&setting, kind))
            offer(place, setting.name, kind == OPT_ANY_SETTING ? "" : "=");
    }
}

/** Offers the words between bars behind what is written up to the last comma, if it is a list. */
static void
offer_choices(const struct place *place, const char *choices, bool is_list)
{
    char text[2 * SETTING_RANGE_BYTES];
    const char *comma = is_list ? strrchr(place->word, ',') : NULL;
    int kept = comma ? (int)(comma + 1 - place->word) : 0;
    for (size_t length; *choices; choices += length + (choices[length] == '|')) {
        length = strcspn(choices, "|");
        snprintf(text, sizeof text, "%.*s%.*s", kept, place->word, (int)length, choices);
        offer(place, text, "");
    }
}

/** The values of a setting that can be told: its words, or true and false. */
static void
offer_setting_values(const struct place *place)
{
    struct setting setting;
    for (size_t i = 0; settings_at(i, &setting); i++) {
        if (strcmp(setting.name, place->setting) != 0 || !is_of_kind(&setting, place->setting_kind))
            continue;
        if (strchr(setting.range, '|'))
            offer_choices(place, setting.range, strcmp(setting.type, "list") == 0);
        else if (strcmp(setting.type, "bool") == 0)
            offer_choices(place, "true|false", false);
    }
}

/** The same where the whole of name=value is one word. */
static void
offer_pairs(const struct place *place, enum opt_complete kind)
{
    char name[128], text[256];
    size_t length = strcspn(place->word, "=");
    if (length >= sizeof name)
        return;
    memcpy(name, place->word, length);
    name[length] = '\0';
    struct place value = *place;
    value.word = place->word + length + 1;
    value.setting = name;
    value.setting_kind = kind;
    value.prefix = text;
    snprintf(text, sizeof text, "%s=", name);
    offer_setting_values(&value);
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
    case OPT_GROUP:
        offer_groups(place);
        return;
    case OPT_FILE:
        puts(":files");
        return;
    default:
        if (strchr(place->word, '='))
            offer_pairs(place, kind);
        else
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
        size_t first = strcspn(words, "| "); /* of two words */
        bool literal = first < sizeof word && strcspn(words, "NMT@-") >= first;
        if (literal) {
            memcpy(word, words, first);
            word[first] = '\0';
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

/** Whether the option's value goes on behind this word, as in "offset N". */
static bool
has_second_word(const struct opt_row *row, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = row->value; at && *at; at += strcspn(at, "|"), at += *at == '|')
        if (strncmp(at, word, length) == 0 && at[length] == ' ')
            return true;
    return false;
}

/** Takes the value of an option. */
static void
pass_value(struct place *place, const struct opt_row *row, const char *word)
{
    if (row->key == OPT_SOCKET)
        place->ctl->socket = word;
    if (has_second_word(row, word))
        place->value_of = &second_word;
    if (row->complete >= OPT_TOPIC_SETTING) {
        place->setting = word;
        place->setting_kind = row->complete;
    }
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
        else
            pass_value(place, before, word);
        return;
    }
    /* And of the one in -c NAME=VALUE, where the name was taken for the whole value. */
    if (place->setting && strcmp(word, "=") == 0 && !place->at_setting) {
        place->at_setting = true;
        return;
    }
    bool was_value = place->at_setting;
    place->setting = NULL;
    place->at_setting = false;
    if (was_value)
        return;
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
    /* The word behind -c NAME: its '=', or what is behind that. */
    bool is_equals = strcmp(place.word, "=") == 0;
    if (place.setting && (place.at_setting || is_equals)) {
        place.word = place.at_setting ? place.word : "";
        offer_setting_values(&place);
    } else if (place.value_of) {
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
