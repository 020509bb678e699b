/** Lua that several scripts begin with. Each defines local functions; what a script does not call costs it nothing. */

/** `decimal`: a number as text, since Lua prints large ones as 1.7e+15. `whole`: a text as a whole number, or nil. */
export const NUMBERS = `
local function decimal(number) return string.format('%.0f', number) end
local function whole(text)
  local number = tonumber(text or '')
  if number and number >= 0 and number <= 9007199254740991 and number == math.floor(number) then return number end
  return nil
end
`;

/** `mustBe`: whatever stands under our key as another kind of value is nobody's, and would fail every call. */
export const MUST_BE = `
local function mustBe(kind, key)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
`;
