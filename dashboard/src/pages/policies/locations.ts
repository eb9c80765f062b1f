// What is known of the locations.
import type { Schemas } from '$lib/api/client';

/** What the server says of a location after its name: where it is and what is in it. */
export function restOf({ slug, display_name }: Schemas['Region']): string {
  return display_name.startsWith(slug) ? display_name.slice(slug.length).replace(/^[:\s]+/, '') : display_name;
}

type Place = Schemas['PlacementCandidate'];

/** The names that there are of a kind of entry, as far as they are known; codes of countries are not. */
export function knownNames(places: Place[], kind: string): string[] {
  const names =
    kind === 'location'
      ? places.map((place) => place.location)
      : places.filter(({ flavor }) => flavor.type === kind).map(({ flavor }) => flavor.name);
  return [...new Set(names)];
}

/** All hardware that there is anywhere, each once. */
export function hardwareOf(places: Place[]): Schemas['PlacementFlavor'][] {
  return [...new Map(places.map(({ flavor }) => [`${flavor.type} ${flavor.name}`, flavor])).values()];
}
