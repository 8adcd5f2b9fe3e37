// Parses an iCalendar object from stdin by ical.js, strictly; tells its components and what it reads of its events.
// The library is where NODE_MODULES says.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { default: ICAL } = await import(pathToFileURL(`${process.env.NODE_MODULES}/ical.js/dist/ical.js`));
ICAL.design.strict = true;
const calendar = new ICAL.Component(ICAL.parse(readFileSync(0, 'utf8')));
const utc = (time) => time.toJSDate().toISOString();
const events = calendar.getAllSubcomponents('vevent').map((component) => {
  const event = new ICAL.Event(component, { strictExceptions: true });
  const alarm = component.getFirstSubcomponent('valarm');
  return {
    uid: event.uid, sequence: event.sequence, status: component.getFirstPropertyValue('status'),
    start: utc(event.startDate), end: utc(event.endDate), summary: event.summary, location: event.location ?? '',
    description: event.description, stamp: utc(component.getFirstPropertyValue('dtstamp')),
    trigger: alarm ? alarm.getFirstPropertyValue('trigger').toString() : null,
  };
});
console.log(JSON.stringify({ components: calendar.getAllSubcomponents().map((c) => c.name), events }));
